"""Values that containers take from Parameter Store."""

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from windtunnel_emulator.containers import secrets
from windtunnel_emulator.containers.work import Work

ARN = "arn:aws:ssm:ap-southeast-2:000000000000:parameter"


VALUES = {"plain": "1", "/prod/db": "2"}


class Store:
    """Parameter Store as far as it is asked: a name with slashes has to begin with one."""

    def get_parameters(self, Names: list[str], WithDecryption: bool) -> Any:
        (name,) = Names
        if "/" in name and not name.startswith("/"):
            raise ClientError({"Error": {"Code": "ValidationException", "Message": name}}, "GetParameters")
        return {"Parameters": [{"Value": VALUES[name]}] if name in VALUES else []}


def value_of(origin: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(secrets, "connect_to", lambda **_: SimpleNamespace(ssm=Store()))
    container = {"name": "main", "secrets": [{"name": "A", "valueFrom": origin}]}
    work = Work(
        id="1", service="ecs", account="000000000000", region="ap-southeast-2", containers=[container]
    )
    return secrets.secrets_of(work)["main"]["A"]


@pytest.mark.parametrize(
    ("origin", "value"),
    [("plain", "1"), (f"{ARN}/plain", "1"), ("/prod/db", "2"), (f"{ARN}/prod/db", "2")],
)
def test_a_parameter_is_found_by_its_name_and_by_its_arn(
    origin: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert value_of(origin, monkeypatch) == value


@pytest.mark.parametrize("origin", ["/prod/none", "none", f"{ARN}/none", f"{ARN}/prod/none"])
def test_one_that_is_not_there_is_named(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(secrets.SecretError, match=r"from ssm: .*invalid ssm parameters: .*none"):
        value_of(origin, monkeypatch)
