from pathlib import Path
from typing import Any

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.pytest_plugin.static_checks.checks import Check, CheckFailed, Checks
from windtunnel.release import releasing
from windtunnel.stack.errors import StackError, Unmet

from .a_bucket import Objects


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "dags").mkdir(parents=True)
    (folder / "dags" / "a.py").write_text("import b\nfrom airflow.sdk import DAG\na = DAG('a')\n")
    (folder / "dags" / "b.py").write_text("from airflow.sdk import DAG\nmake = lambda: DAG('b')\n")
    (folder / "dags" / "left_out.py").write_text("from airflow.sdk import DAG\nc = DAG('c')\n")
    return folder


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The checks of the DAG files."""
    found: list[Check] = []
    monkeypatch.setattr(Checks, "of_dags", lambda *_: found)
    return found


def test_a_folder_is_put_there_with_its_content_as_the_version(
    compose: ComposeStack, repository: Path, checked: list[Check]
) -> None:
    objects = Objects()

    checked += [Check(f"dags/{name}.py", "parses", lambda: None) for name in "ab"]

    version, files = releasing.put(compose, objects.bucket, repository, print)

    assert list(objects.held) == [f"releases/{version}.zip"]
    # Airflow may be told to leave a file out.
    assert files == ["a.py"]
    assert releasing.put(compose, objects.bucket, repository, print) == (version, files)


@pytest.mark.bad_input(83)
def test_a_folder_without_dags_is_refused(compose: ComposeStack, tmp_path: Path) -> None:
    with pytest.raises(Unmet, match=r"there is no folder .*dags"):
        releasing.put(compose, Objects().bucket, tmp_path / "gone", print)


@pytest.mark.bad_input(88)
def test_packages_that_the_stack_does_not_have_are_refused(
    compose: ComposeStack, repository: Path, checked: list[Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = Objects()
    (repository / "requirements.txt").write_text("more==1\n")
    with pytest.raises(Unmet, match="the stack has not the packages of") as caught:
        releasing.put(compose, objects.bucket, repository, print)
    assert "requirements.txt ./windtunnel up" in caught.value.findings[0].remedy

    # The stack's own: the local engine would install them while tasks run.
    (repository / "requirements.txt").unlink()
    monkeypatch.setattr(ComposeStack, "has_parts", lambda _: False)
    with pytest.raises(Unmet, match="have changed since it was started"):
        releasing.put(compose, objects.bucket, repository, print)
    assert objects.held == {}


@pytest.mark.bad_input(84)
def test_a_dag_file_that_does_not_parse_is_refused_and_nothing_is_put_there(
    compose: ComposeStack, repository: Path, checked: list[Check]
) -> None:
    def fail() -> None:
        raise CheckFailed("SyntaxError: it is wrong")

    checked += [Check("dags/a.py", "parses", fail), Check("dags/b.py", "parses", lambda: None)]
    objects = Objects()

    with pytest.raises(Unmet, match=r"dags/a\.py: SyntaxError: it is wrong") as caught:
        releasing.put(compose, objects.bucket, repository, print)

    assert [finding.remedy for finding in caught.value.findings] == [
        "Correct the file. Nothing was released."
    ]
    assert objects.held == {}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Airflow answers, one a question; the last one stays."""
    listed: list[dict[str, Any]] = []

    def ask(*_: str) -> dict[str, Any]:
        return listed.pop(0) if len(listed) > 1 else listed[0]

    monkeypatch.setattr(ComposeStack, "ask", ask)
    for name in ("UNPACKED", "PARSED"):
        monkeypatch.setattr(releasing, name, 0.3)
    return listed


@pytest.fixture
def bucket() -> Any:
    return Objects().bucket


def test_it_waits_until_airflow_has_parsed_it(
    compose: ComposeStack, answers: list[dict[str, Any]], bucket: Any
) -> None:
    answers += [
        {"version": "old", "behind": [], "files": ["a.py"]},
        {"version": "new", "behind": ["a"], "files": ["a.py"]},
    ]
    answers += [{"version": "new", "behind": [], "files": []}]
    answers += [{"version": "new", "behind": [], "files": ["a.py"]}]

    assert releasing.await_airflow(compose, bucket, "new", ["a.py"]) == []
    assert len(answers) == 1


def test_dags_that_are_parsed_late_are_named(
    compose: ComposeStack, answers: list[dict[str, Any]], bucket: Any
) -> None:
    answers += [{"version": "new", "behind": ["a", "b"], "files": ["a.py"]}]

    assert releasing.await_airflow(compose, bucket, "new", ["a.py", "c.py"]) == ["a", "b", "c.py"]


def test_a_release_that_airflow_does_not_take_is_an_error_with_its_log(
    compose: ComposeStack, answers: list[dict[str, Any]], bucket: Any
) -> None:
    answers += [{"version": "old", "behind": [], "files": ["a.py"]}]

    with pytest.raises(StackError) as error:
        releasing.await_airflow(compose, bucket, "new")

    assert "logs dag-processor" in error.value.next_step
