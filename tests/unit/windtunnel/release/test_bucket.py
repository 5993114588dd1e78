from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from windtunnel.compose.stack import ComposeStack
from windtunnel.release import bucket
from windtunnel.release.bucket import Bucket
from windtunnel.stack import aws
from windtunnel.stack.errors import StackError, Unmet

from ..stand_ins.docker import CONFIGURATION
from .a_bucket import VARIABLES, Objects


def let_have(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    configuration = {**CONFIGURATION, "services": {"scheduler": {"environment": variables}}}
    monkeypatch.setattr(ComposeStack, "configuration", configuration)
    monkeypatch.setattr(aws, "client", lambda *_, **__: "a client")


def test_the_bucket_is_the_one_of_airflows_own_setting(
    compose: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_have(monkeypatch, VARIABLES)

    assert Bucket.of(compose) == Bucket("a client", "releases", "airflow-releases", "releases")


@pytest.mark.bad_input(83)
def test_a_stack_without_one_says_how_to_get_one(
    compose: ComposeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_have(monkeypatch, {})

    with pytest.raises(Unmet, match="has its DAGs from a folder") as caught:
        Bucket.of(compose)

    assert "up --with bundle" in caught.value.findings[0].remedy
    assert bucket.configured(compose) is None


def test_releases_and_the_current_one() -> None:
    objects = Objects()
    releases: Any = objects.bucket
    assert releases.current() is None
    assert releases.releases() == []
    for version in ("one", "other"):
        releases.add(version, b"zip")

    releases.make_current("one")

    assert releases.current().version == "one"
    assert [release.version for release in releases.releases()] == ["other", "one"]
    # A release is there before it is current.
    assert list(objects.held) == ["releases/one.zip", "releases/other.zip", "releases/current"]


@pytest.mark.bad_input(85)
def test_a_release_that_is_not_there_does_not_become_current() -> None:
    objects = Objects()
    objects.bucket.add("3f2a9c", b"zip")

    with pytest.raises(Unmet, match="there is no release 3f2a9d") as caught:
        objects.bucket.make_current("3f2a9d")

    assert "Did you mean 3f2a9c?" in caught.value.findings[0].remedy
    assert objects.bucket.current() is None


def test_what_boto3_raises_is_told() -> None:
    with pytest.raises(StackError, match="bucket of the releases"), bucket.s3_explained():
        raise EndpointConnectionError(endpoint_url="http://here")
