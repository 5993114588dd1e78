import json
from pathlib import Path
from typing import Any

import pytest

from windtunnel.seeding.resources import load_resources
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
