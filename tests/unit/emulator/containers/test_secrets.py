"""Values of Parameter Store and Secrets Manager reach the containers that name them."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from windtunnel_emulator.containers import secrets
from windtunnel_emulator.containers.work import Work

PARAMETER = "arn:aws:ssm:here:0:parameter"
KEPT = "arn:aws:secretsmanager:here:0:secret:it"


class Parameters:
    """Parameter Store with two parameters."""

    def get_parameters(self, Names: list[str], WithDecryption: bool) -> dict[str, Any]:
        assert WithDecryption
        # As AWS does: a name with slashes has to begin with one.
        if any("/" in name and not name.startswith("/") for name in Names):
            raise ClientError({"Error": {"Code": "ValidationException", "Message": "it"}}, "GetParameters")
        values = {"plain": "1", "/a/path": "2"}
        return {"Parameters": [{"Value": values[name]} for name in Names if name in values]}


class Secrets:
    """Secrets Manager with one secret in two versions."""

    def get_secret_value(self, SecretId: str, **version: str) -> dict[str, Any]:
        if SecretId != KEPT:
            raise ClientError(
                {"Error": {"Code": "ResourceNotFoundException", "Message": "none"}}, "GetSecretValue"
            )
        is_old = version in ({"VersionStage": "OLD"}, {"VersionId": "v1"})
        return {"SecretString": '{"key": "old"}' if is_old else '{"key": "new"}'}


@pytest.fixture(autouse=True)
def _clients(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = SimpleNamespace(ssm=Parameters(), secretsmanager=Secrets())
    monkeypatch.setattr(secrets, "connect_to", lambda **_: clients)


def value(origin: str) -> str:
    container = {"name": "main", "image": "it", "secrets": [{"name": "S", "valueFrom": origin}]}
    return secrets.secrets_of(Work("one", "ecs", "0", "here", [container, {"name": "other"}]))["main"]["S"]


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("plain", "1"),
        ("/a/path", "2"),
        (f"{PARAMETER}/plain", "1"),
        (f"{PARAMETER}/a/path", "2"),
        (KEPT, '{"key": "new"}'),
        (f"{KEPT}:key::", "new"),
        (f"{KEPT}:key:OLD:", "old"),
        (f"{KEPT}:key::v1", "old"),
    ],
)
def test_a_value_is_found_by_each_way_to_name_it(origin: str, expected: str) -> None:
    assert value(origin) == expected


@pytest.mark.parametrize(
    ("origin", "source", "why"),
    [
        ("none", "ssm", "invalid ssm parameters: none"),
        (f"{PARAMETER}/a/none", "ssm", "invalid ssm parameters: /a/none"),
        (f"{KEPT}2", "asm", "ResourceNotFoundException"),
        (f"{KEPT}:other::", "asm", "has no such key"),
    ],
)
def test_what_is_not_there_is_said_as_ecs_says_it(origin: str, source: str, why: str) -> None:
    with pytest.raises(secrets.SecretError, match=why) as raised:
        value(origin)

    assert str(raised.value).startswith(
        "ResourceInitializationError: unable to pull secrets or registry auth"
    )
    assert f"unable to retrieve secret from {source}" in str(raised.value)


def test_a_service_that_does_not_answer_ends_the_task_and_not_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url="it")

    monkeypatch.setattr(secrets, "connect_to", fail)
    with pytest.raises(secrets.SecretError, match="Could not connect"):
        value("plain")
