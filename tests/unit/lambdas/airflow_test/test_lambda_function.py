"""The demo function."""

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest

from airflow_test import lambda_function
from airflow_test.lambda_function import DemoFailure, lambda_handler

FOLDER = Path(lambda_function.__file__).parent


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    sleeps: list[float] = []
    monkeypatch.setattr("time.sleep", sleeps.append)
    return sleeps


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_counts_with_one_line_a_step(log: pytest.LogCaptureFixture, slept: list[float]) -> None:
    assert lambda_handler({"max_len": 3, "interval": 0.5, "fails_at": None}, None) == {"lines": 3}
    assert log.messages == ["step 0 of 3", "step 1 of 3", "step 2 of 3"]
    assert slept == [0.5, 0.5, 0.5]


def test_defaults(log: pytest.LogCaptureFixture, slept: list[float]) -> None:
    assert lambda_handler({"fails_at": None}, None) == {"lines": 6}
    assert slept == [1] * 6


def test_fails_where_asked(log: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DemoFailure, match="step 2 of 3"):
        lambda_handler({"max_len": 3, "fails_at": 2}, None)
    assert log.messages == ["step 0 of 3", "step 1 of 3"]


@pytest.mark.parametrize("fails_at", [3, 6])
def test_a_step_beyond_the_last_is_never_reached(fails_at: int) -> None:
    assert lambda_handler({"max_len": 3, "fails_at": fails_at}, None) == {"lines": 3}


def test_fails_about_every_second_time() -> None:
    random.seed(1)
    failures = 0
    for _ in range(1000):
        try:
            lambda_handler({"max_len": 6}, None)
        except DemoFailure:
            failures += 1

    # 6 of the 13 steps drawn from lie within the count: 46 %.
    assert 400 < failures < 520


def test_an_empty_count_succeeds() -> None:
    assert lambda_handler({"max_len": 0}, None) == {"lines": 0}


@pytest.mark.parametrize(
    ("event", "named"),
    [
        ({"max_len": -1}, "max_len"),
        ({"max_len": "6"}, "max_len"),
        ({"max_len": 1.5}, "max_len"),
        ({"max_len": True}, "max_len"),
        ({"max_len": None}, "max_len"),
        ({"interval": -0.1}, "interval"),
        ({"interval": "1"}, "interval"),
        ({"interval": float("nan")}, "interval"),
        ({"interval": float("inf")}, "interval"),
        ({"interval": False}, "interval"),
        ({"fails_at": "never"}, "fails_at"),
        ({"fails_at": -1}, "fails_at"),
        (["list"], "event"),
        (None, "event"),
    ],
    ids=repr,
)
def test_bad_event_is_refused_by_name(event: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        lambda_handler(event, None)


def test_settings_have_the_shape_of_create_function() -> None:
    settings = json.loads((FOLDER / "function.json").read_text())
    module, name = settings["Handler"].split(".")

    assert settings["FunctionName"] == "airflow-test"
    # It runs with whichever Python the functions have.
    assert "Runtime" not in settings
    assert callable(getattr(lambda_function, name))
    assert (FOLDER / f"{module}.py").is_file()


def test_settings_are_what_boto3_takes() -> None:
    import botocore.session
    from botocore.validate import ParamValidator

    model = botocore.session.get_session().get_service_model("lambda").operation_model("CreateFunction")
    settings = json.loads((FOLDER / "function.json").read_text())
    # What the deployer adds.
    added = {"Role": "arn:aws:iam::000000000000:role/lambda", "Code": {"ZipFile": b"zip"}}

    report = ParamValidator().validate({**settings, **added}, model.input_shape)

    assert not report.has_errors(), report.generate_report()
