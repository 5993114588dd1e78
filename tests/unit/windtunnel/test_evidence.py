"""What cannot be had does not keep the rest from being written."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from windtunnel import evidence

RUN: Any = SimpleNamespace(dag_id="mine", dag_run_id="run-1")
OTHER: Any = SimpleNamespace(dag_id="mine", dag_run_id="run-2")


class Engine:
    """Of a stack whose LocalStack and web server are gone."""

    name = "local"

    def __init__(self, state: Path) -> None:
        self.state = state

    def address(self, service: str) -> str:
        raise OSError(f"{service} does not run")

    def memory(self) -> dict[str, float]:
        return {"scheduler": 2e6}

    def write_logs(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "scheduler.log").write_text("the scheduler's")


def stack(tmp_path: Path) -> Any:
    def aws(service: str) -> Any:
        raise OSError("no answer")

    airflow = SimpleNamespace(
        failures=lambda run: [f"why {run.dag_run_id}"],
        import_errors=lambda: [SimpleNamespace(filename="a.py", stack_trace="SyntaxError: bad")],
        task_instances=lambda run: [],
    )
    return SimpleNamespace(engine=Engine(tmp_path), airflow=airflow, aws=aws, runs=[RUN, OTHER])


def test_what_cannot_be_had_is_named_and_the_rest_is_there(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"

    evidence.write(stack(tmp_path), folder)

    missing = (folder / "missing.txt").read_text().splitlines()
    assert [line.partition(":")[0] for line in missing] == ["health", "functions", "s3.txt", "versions.json"]
    assert missing[0] == "health: OSError: webserver does not run"
    assert "scheduler: 2 MB" in (folder / "resources.txt").read_text()
    assert (folder / "services" / "scheduler.log").read_text() == "the scheduler's"


def test_the_lines_that_tell_are_of_the_failed_tests_runs_and_then_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"

    lines = evidence.write(stack(tmp_path), folder, [OTHER])

    assert lines == ["mine run-2:", "why run-2", "a.py: SyntaxError: bad"]
    assert (folder / "runs.txt").read_text() == "mine run-2:\nwhy run-2\nmine run-1:\nwhy run-1\n"


def test_a_bundle_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "old.txt").touch()

    evidence.write(stack(tmp_path), folder)

    assert not (folder / "old.txt").exists()
