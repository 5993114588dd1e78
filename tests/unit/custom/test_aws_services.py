"""The page of AWS services knows every operator module of the provider, and every service of a hook."""

import re
from pathlib import Path

from airflow.providers.amazon.aws import hooks
from airflow.providers.amazon.get_provider_info import get_provider_info

from windtunnel.dev import aws_services


def test_every_operator_module_is_on_the_page() -> None:
    listed = {module for row in aws_services.ROWS for module in row.modules}
    there = {
        module.rpartition(".")[2]
        for integration in get_provider_info()["operators"]  # type: ignore[no-untyped-call]
        for module in integration["python-modules"]
    }

    assert listed == there


def test_every_service_of_a_hook_is_on_the_page() -> None:
    called = {
        service
        for path in Path(hooks.__file__).parent.glob("*.py")
        for service in re.findall(
            r"""(?:client|resource)_type["']?\]?\s*[=:]\s*["']([a-z0-9-]+)""", path.read_text()
        )
    }

    assert len(called) > 40
    assert called <= {row.service for row in aws_services.ROWS}
