"""Shows the logs of a run's tasks as they grow, like ``tail -f`` over all of them."""

from collections import Counter
from collections.abc import Callable

from airflow_client.client.models.dag_run_response import DAGRunResponse

from windtunnel.airflow_api.client import FINISHED, INTERVAL, AirflowApiError, AirflowClient
from windtunnel.airflow_api.task_log import LogRecord
from windtunnel.stack.command import COMMAND
from windtunnel.waiting import wait_until

# A task in one of these states has no log yet.
NOT_STARTED = frozenset({"", "none", "scheduled", "queued", "removed", "skipped", "upstream_failed"})

# Names a task's log: its id, map index and try.
Key = tuple[str, int, int]

# How long the API may be out of reach, in seconds: a restart of the web server takes 6 s and more.
PATIENCE = 60.0


class Follower:
    """Reads every task's log again and again, and hands over what is new."""

    def __init__(
        self, airflow: AirflowClient, run: DAGRunResponse, on_record: Callable[[Key, LogRecord], None]
    ) -> None:
        """Read nothing yet.

        :param on_record: gets each record once, in the order in which it is seen.
        """
        self._airflow = airflow
        self._run = run
        self._on_record = on_record
        self._seen: dict[Key, Counter[LogRecord]] = {}
        self._finished: set[Key] = set()

    def look(self) -> DAGRunResponse:
        """Hand over what is new, and return the run as it was before that."""
        run = self._airflow.run(self._run.dag_id, self._run.dag_run_id)
        for task in self._airflow.task_instances(run):
            state = str(task.state.value) if task.state else ""
            # The API names the latest try alone; those before it have ended.
            for number in range(1, task.try_number + 1):
                key = (task.task_id, task.map_index, number)
                latest = number == task.try_number
                if key in self._finished or (latest and state in NOT_STARTED):
                    continue
                self._show(key)
                if run.state in FINISHED or not latest:
                    self._finished.add(key)
        return run

    def _show(self, key: Key) -> None:
        task_id, map_index, number = key
        try:
            log = self._airflow.task_log(self._run, task_id, number, map_index)
        except AirflowApiError:  # it is queued again, or its worker has not written anything yet
            return
        # A relayed record has the function's time, not that of its arrival: new ones need not be last.
        seen = self._seen.setdefault(key, Counter())
        now: Counter[LogRecord] = Counter()
        for record in log.records:
            now[record] += 1
            if now[record] > seen[record]:
                self._on_record(key, record)
        self._seen[key] = seen | now

    def to_the_end(self, timeout: float, on_state: Callable[[str], None]) -> DAGRunResponse:
        """Go on until the run has ended.

        :param timeout: seconds.
        :param on_state: gets each new state.
        :raises windtunnel.waiting.WaitTimeout: when it takes longer, or the API does not answer any more.
        """
        states: list[str] = []

        def ended() -> DAGRunResponse | None:
            run = self.look()
            if states[-1:] != [run.state.value]:
                states.append(run.state.value)
                on_state(states[-1])
            return run if run.state in FINISHED else None

        what = f"the run {self._run.dag_run_id} of {self._run.dag_id} to end"
        return wait_until(
            what,
            ended,
            timeout=timeout,
            interval=INTERVAL,
            retry_on=(AirflowApiError,),
            patience=PATIENCE,
            hint=f"See {COMMAND} status",
        )
