"""DAGs from a bucket: releases, and runs that go on while another one is taken up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow_client.client.models.dag_run_response import DAGRunResponse

from windtunnel.airflow_api.client import AirflowClient
from windtunnel.diagnosis.status import Report
from windtunnel.release import releasing
from windtunnel.release.bucket import Bucket
from windtunnel.stack.base import ignore
from windtunnel.testing.stack import RunningStack
from windtunnel.waiting import wait_until

pytestmark = pytest.mark.overlay("bundle")

BUCKET = "airflow-lambda-logs"

# Each release has a word in its custom/, one in a module beside its DAG files, and one in the file itself.
DAG_FILE = f"""
import time

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, task
from custom.words.release import WORD
from helper_of_release import HELP

with DAG("test-release", schedule=None, is_paused_upon_creation=False):

    @task
    def first() -> list[str]:
        return [WORD, HELP, "RELEASE"]

    @task
    def wait(run_id: str | None = None) -> None:
        while not S3Hook().check_for_key(f"test-release/{{run_id}}", "{BUCKET}"):
            time.sleep(0.2)

    @task
    def last() -> list[str]:
        # Imported at the last moment, and of the stack's own package.
        from custom.words import release
        from custom.operators.lambda_function import LambdaOperator

        return [release.WORD, HELP, "RELEASE", LambdaOperator.__name__]

    first() >> wait() >> last()
"""


@pytest.fixture
def bucket(windtunnel: RunningStack) -> Bucket:
    return Bucket.of(windtunnel.stack)


@pytest.fixture
def release(windtunnel: RunningStack, bucket: Bucket, tmp_path: Path) -> Callable[[str], str]:
    """Release the repository with this word, as `./windtunnel release` does; its version."""

    def make(word: str) -> str:
        for name, content in {
            "dags/releases.py": DAG_FILE.replace("RELEASE", word),
            "dags/helper_of_release.py": f"HELP = {word!r}\n",
            "custom/words/release.py": f"WORD = {word!r}\n",
        }.items():
            path = tmp_path / "repository" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        version, files = releasing.put(windtunnel.stack, bucket, tmp_path / "repository", ignore)
        assert files == ["releases.py"]
        bucket.make_current(version)
        assert releasing.await_airflow(windtunnel.stack, bucket, version, files) == []
        return version

    return make


@pytest.fixture
def end(airflow: AirflowClient, s3_client: Any) -> Callable[[DAGRunResponse], list[Any]]:
    """Let a run end; what its first and its last task have found."""

    def let(run: DAGRunResponse) -> list[Any]:
        s3_client.put_object(Bucket=BUCKET, Key=f"test-release/{run.dag_run_id}", Body=b"")
        ended = airflow.wait(run, timeout=120)
        assert ended.state == "success", "\n".join(airflow.failures(ended))
        return [airflow.xcom(run, "first"), airflow.xcom(run, "last")]

    return let


def test_a_run_goes_on_with_the_release_that_it_began_with(
    airflow: AirflowClient, windtunnel: RunningStack, bucket: Bucket, release: Any, end: Any
) -> None:
    one = release("one")
    old = airflow.trigger("test-release")
    wait_until(
        "the run to wait",
        lambda: {task.task_id: task.state for task in airflow.task_instances(old)}["wait"] == "running",
        timeout=60,
    )

    other = release("other")
    new = airflow.trigger("test-release")

    report = Report.of(windtunnel.stack)
    assert [row[:2] for row in report.aws["Releases of DAGs"]] == [(other, "current"), (one, "older")]
    assert report.aws["Releases of DAGs"][1][2] == "1 run goes on with it"
    assert end(old) == [["one"] * 3, ["one"] * 3 + ["LambdaOperator"]]
    assert end(new) == [["other"] * 3, ["other"] * 3 + ["LambdaOperator"]]
    assert (old.bundle_version, new.bundle_version) == (one, other)
    # And back.
    bucket.make_current(one)
    assert releasing.await_airflow(windtunnel.stack, bucket, one) == []
    again = airflow.trigger("test-release")
    assert again.bundle_version == one
    assert end(again) == [["one"] * 3, ["one"] * 3 + ["LambdaOperator"]]


def test_a_release_that_cannot_be_used_changes_nothing_and_is_named(
    airflow: AirflowClient, windtunnel: RunningStack, bucket: Bucket, release: Any, end: Any
) -> None:
    version = release("good")
    bucket.add("damaged", b"no zip file")
    bucket.make_current("damaged")

    def refusals() -> list[str]:
        lines = windtunnel.stack.logs("dag-processor").splitlines()
        return [line for line in lines if "damaged.zip is damaged" in line]

    wait_until("the dag-processor to refuse it", refusals, timeout=30)
    run = airflow.trigger("test-release")

    assert run.bundle_version == version
    assert end(run)[0] == ["good"] * 3
    (warning,) = Report.of(windtunnel.stack).warnings
    assert warning.problem.startswith("the release damaged is current in s3://airflow-releases/releases")
    # The traceback's last line and the message, once.
    assert len(refusals()) <= 2
    bucket.make_current(version)
    wait_until("the warning to go", lambda: not Report.of(windtunnel.stack).warnings, timeout=30)
