import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from windtunnel.seeding.resources import Call, apply, load_resources
from windtunnel.seeding.validation import SeedingError


def test_resources(root: Path) -> None:
    file = root / "config/aws.json"
    assert load_resources(file) == []

    file.write_text(
        json.dumps({"logs": {"create_log_group": [{"logGroupName": "/a"}, {"logGroupName": "/b"}]}})
    )
    assert load_resources(file) == [
        ("logs", "create_log_group", {"logGroupName": "/a"}),
        ("logs", "create_log_group", {"logGroupName": "/b"}),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"logs": {"create_nothing": [{}]}}, "logs has no operation create_nothing"),
        ({"logs": {"create_log_group": [{}]}}, "logGroupName"),
        ({"logs": "all"}, "must hold"),
    ],
)
def test_what_is_wrong_with_a_resource_is_named(root: Path, content: Any, problem: str) -> None:
    (root / "config/aws.json").write_text(json.dumps(content))

    with pytest.raises(SeedingError, match=problem):
        load_resources(root / "config/aws.json")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"nosuch": {"create_x": [{}]}}, "knows no service nosuch"),
        ({"s3": {"make_bucket": [{}]}}, "s3 has no operation make_bucket"),
    ],
)
def test_unknown_services_and_operations_are_refused(root: Path, content: object, reason: str) -> None:
    (root / "config/aws.json").write_text(json.dumps(content))

    with pytest.raises(SeedingError, match=reason):
        load_resources(root / "config/aws.json")


def test_operations_have_boto3s_names(root: Path) -> None:
    arguments = {"DBInstanceIdentifier": "d", "DBInstanceClass": "c", "Engine": "postgres"}
    (root / "config/aws.json").write_text(json.dumps({"rds": {"create_db_instance": [arguments]}}))

    assert load_resources(root / "config/aws.json") == [("rds", "create_db_instance", arguments)]


class Service:
    """A service whose calls need what other calls have made."""

    def __init__(self, needs: dict[str, str]) -> None:
        self.made: list[str] = []
        self.meta = SimpleNamespace(service_model=SimpleNamespace(service_name="any"))
        self._needs = needs

    def make(self, name: str) -> None:
        if self._needs.get(name, name) not in [name, *self.made]:
            raise ClientError({"Error": {"Code": "NotFound", "Message": "no"}}, "Make")
        self.made.append(name)


def calls(*names: str) -> list[Call]:
    return [("any", "make", {"name": name}) for name in names]


def test_what_others_refer_to_may_come_later() -> None:
    service = Service({"mapping": "queue", "alarm": "mapping"})

    made, reasons = apply(calls("alarm", "mapping", "queue"), lambda _: service)

    assert (service.made, reasons) == (["queue", "mapping", "alarm"], [])
    assert len(made) == 3


def test_only_new_calls_are_made() -> None:
    service = Service({})
    made, _ = apply(calls("one"), lambda _: service)

    apply(calls("one", "two"), lambda _: service, made)

    assert service.made == ["one", "two"]


def test_what_fails_in_the_end_is_named_and_the_rest_is_made() -> None:
    service = Service({"mapping": "nothing"})

    made, reasons = apply(calls("mapping", "queue"), lambda _: service)

    assert service.made == ["queue"]
    assert len(made) == 1
    assert ["any.make" in reason and "NotFound" in reason for reason in reasons] == [True]
