"""The clients that ask AWS for a web page."""

import pytest

from custom.links.quick_client import quick_client


@pytest.mark.parametrize(("region", "expected"), [(None, "eu-west-1"), ("", "eu-west-1"), ("us-east-1",) * 2])
def test_it_has_the_connection_that_it_is_given_and_does_not_wait_long(
    monkeypatch: pytest.MonkeyPatch, region: str | None, expected: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MINE", "aws://key:secret@/?region_name=eu-west-1")

    client = quick_client("ecs", region, "mine")

    assert client.meta.region_name == expected
    assert client.meta.service_model.service_name == "ecs"
    config = client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 10)
    assert config.retries["total_max_attempts"] == 1
