from collections.abc import Mapping
from typing import Any

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import releases
from windtunnel.release.bucket import Bucket

from ..release.a_bucket import VARIABLES, Objects
from ..stand_ins.docker import CONFIGURATION


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Objects:
    made = Objects()
    configuration = {**CONFIGURATION, "services": {"scheduler": {"environment": VARIABLES}}}
    monkeypatch.setattr(ComposeStack, "configuration", configuration)
    monkeypatch.setattr(ComposeStack, "is_running", lambda *_: True)
    monkeypatch.setattr(Bucket, "of", lambda _: made.bucket)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    said: Mapping[str, Any] = {"version": None, "behind": [], "runs": [], **found}
    monkeypatch.setattr(ComposeStack, "ask", lambda *_: said)


def test_the_current_release_and_older_ones_that_runs_go_on_with(
    compose: ComposeStack, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.bucket.add("new", b"")
    objects.bucket.make_current("new")
    answer(monkeypatch, version="new", runs=[["new", 1], ["old", 2]])

    rows, findings = releases.look(compose)

    assert [row[:2] for row in rows] == [("new", "current"), ("old", "older")]
    assert rows[0][2].startswith("since 2026-01-0")
    assert rows[0][2].endswith(", 1 run goes on with it")
    assert rows[1][2] == "2 runs go on with it"
    assert findings == []


def test_nothing_released_yet(
    compose: ComposeStack, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch)

    rows, (finding,) = releases.look(compose)

    assert rows == []
    assert (finding.problem, finding.remedy) == (
        "nothing is released yet: Airflow has no DAGs",
        "./windtunnel release",
    )


@pytest.mark.bad_input(86)
def test_a_release_that_airflow_has_not_taken_is_named(
    compose: ComposeStack, objects: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.bucket.add("new", b"no zip")
    objects.bucket.make_current("new")
    answer(monkeypatch, version="old")

    _, (finding,) = releases.look(compose)

    assert "new is current in s3://airflow-releases/releases, and Airflow has old" in finding.problem
    assert "logs dag-processor" in finding.remedy


def test_a_stack_with_its_dags_in_a_folder_is_asked_nothing(compose: ComposeStack) -> None:
    assert releases.look(compose) == ([], [])
