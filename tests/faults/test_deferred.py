"""The triggerer dies while tasks wait in it."""

from functools import partial

from tests.run_logs import Try, deferred_in_s3, in_api, in_cloudwatch, invocations
from tests.support import StackUnderTest
from windtunnel.airflow_api.client import AirflowApiError
from windtunnel.waiting import wait_until

FUNCTION = "test-talkative"
TASKS = 30
LINES = 40
# All are to be deferred before the first one has ended: on two cores the last one begins after up to 20 s.
SECONDS = 30


def test_its_successor_ends_every_task_right_with_each_line_once(stack: StackUnderTest) -> None:
    airflow, logs, s3 = stack.airflow, stack.aws("logs"), stack.aws("s3")
    before = invocations(logs, FUNCTION)
    payloads = [{"lines": LINES, "name": f"task {number}", "seconds": SECONDS} for number in range(TASKS)]
    run = airflow.trigger("test-mapped-deferred", {"function_name": FUNCTION, "payloads": payloads})
    tries = [Try(run.dag_id, run.dag_run_id, "invoke", map_index=index) for index in range(TASKS)]

    def all_are_deferred() -> bool:
        tasks = [task for task in airflow.task_instances(run) if task.task_id == "invoke"]
        return len(tasks) == TASKS and all(task.state == "deferred" for task in tasks)

    wait_until(f"{TASKS} tasks to be deferred", all_are_deferred, timeout=60)
    lines = partial(in_api, airflow, tries[-1], FUNCTION)
    wait_until("lines of a deferred task", lines, timeout=30, retry_on=(AirflowApiError,))

    stack.kill("triggerer")
    stack.start("triggerer")

    assert airflow.wait(run, timeout=120).state == "success"
    for this in tries:
        cloudwatch = in_cloudwatch(logs, this, FUNCTION)
        assert [line.text.split(" ")[:4] for line in cloudwatch] == [
            ["task", str(this.map_index), "line", str(number)] for number in range(LINES)
        ]
        # First, as that waits: a log on its way to S3, when the task has its state, is not on the page.
        assert deferred_in_s3(s3, this, FUNCTION) == cloudwatch, this.map_index
        assert in_api(airflow, this, FUNCTION) == cloudwatch, this.map_index
    assert invocations(logs, FUNCTION) == before + TASKS
