"""Much at once: what a function says is the same in CloudWatch, task log and S3, in order, each line once."""

import hashlib
from contextlib import closing
from typing import Any

import pytest

from tests.run_logs import Line, Try, deferred_in_s3, in_api, in_cloudwatch, in_s3, s3_object
from tests.support import StackUnderTest

FUNCTION = "test-talkative"


def digest(lines: list[Line]) -> str:
    """As the function itself makes it of what it says."""
    return hashlib.sha256("".join(f"{line.text}\n" for line in lines).encode()).hexdigest()


def results(stack: StackUnderTest, run_id: str) -> dict[int, dict[str, Any]]:
    """What the functions of a run have returned, by map index."""
    with closing(stack.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT map_index, value FROM xcom WHERE run_id = %s AND task_id = 'invoke' "
            "AND key = 'return_value'",
            (run_id,),
        )
        return dict(cursor.fetchall())


def test_ten_thousand_lines_of_one_call(stack: StackUnderTest) -> None:
    """A hundred of them with tracebacks, more than 20 KB of them in characters of two to four bytes."""
    airflow, logs, s3 = stack.airflow, stack.aws("logs"), stack.aws("s3")
    payload = {"lines": 10_000, "traceback_every": 100}

    run = airflow.wait(
        airflow.trigger("test-once", {"function_name": FUNCTION, "payloads": [payload]}), timeout=120
    )

    assert run.state == "success"
    this = Try(run.dag_id, run.dag_run_id, "invoke")
    cloudwatch = in_cloudwatch(logs, this, FUNCTION)
    assert results(stack, run.dag_run_id) == {-1: {"lines": 10_000, "sha256": digest(cloudwatch)}}
    assert sum("Traceback (most" in line.text for line in cloudwatch) == 100
    wide = [line.text for line in cloudwatch if not line.text.isascii()]
    assert sum(len(text.encode()) for text in wide) > 20_000
    # Not `==` alone: pytest would explain a difference of 10,000 lines for minutes.
    assert (in_api(airflow, this, FUNCTION) == cloudwatch) is True
    assert (in_s3(s3_object(s3, this)["Body"], FUNCTION) == cloudwatch) is True


@pytest.mark.parametrize(
    ("dag_id", "count", "seconds"),
    [
        # Rare, as it takes a minute and a half. Thirty at once are in test_deferred.py.
        pytest.param("test-mapped-deferred", 50, 50, marks=pytest.mark.rare),
        ("test-mapped", 8, 1),
    ],
)
def test_mapped_tasks_keep_their_lines_apart(
    stack: StackUnderTest, dag_id: str, count: int, seconds: float
) -> None:
    """Deferred, all of them are at work at once; otherwise as many as there are slots."""
    airflow, logs, s3 = stack.airflow, stack.aws("logs"), stack.aws("s3")
    payloads = [{"lines": 200, "name": f"task {number}", "seconds": seconds} for number in range(count)]

    run = airflow.wait(
        airflow.trigger(dag_id, {"function_name": FUNCTION, "payloads": payloads}), timeout=240
    )

    assert run.state == "success"
    returned = results(stack, run.dag_run_id)
    first, last = [], []
    for index in range(count):
        this = Try(dag_id, run.dag_run_id, "invoke", map_index=index)
        cloudwatch = in_cloudwatch(logs, this, FUNCTION)
        assert returned[index] == {"lines": 200, "sha256": digest(cloudwatch)}
        first.append(cloudwatch[0].milliseconds)
        last.append(cloudwatch[-1].milliseconds)
        assert all(line.text.startswith(f"task {index} line ") for line in cloudwatch)
        # First, as that waits: a log on its way to S3, when the task has its state, is not on the page.
        stored = (
            deferred_in_s3(s3, this, FUNCTION)
            if dag_id == "test-mapped-deferred"
            else in_s3(s3_object(s3, this)["Body"], FUNCTION)
        )
        assert stored == cloudwatch, index
        assert in_api(airflow, this, FUNCTION) == cloudwatch, index
    if dag_id == "test-mapped-deferred":
        assert max(first) < min(last), "there is no moment at which all of them were at work"
