"""Shows the logs of a run's tasks as they grow, like ``tail -f`` over all of them."""

import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from airflow_client.client.models.dag_run_response import DAGRunResponse

from windtunnel.airflow_api.client import FINISHED, INTERVAL, AirflowApiError, AirflowClient
from windtunnel.airflow_api.task_log import LogRecord
from windtunnel.stack.command import COMMAND
from windtunnel.waiting import wait_until

# A task in one of these states has no log yet.
NOT_STARTED = frozenset({"", "none", "scheduled", "queued", "removed", "skipped", "upstream_failed"})

# A task's log: the task's id, map index and try.
Key = tuple[str, int, int]

# How long a run may take, in seconds: a day.
TIMEOUT = 86400.0

# How long tasks may be queued before it is looked for what they wait for, in seconds.
QUEUED_FOR = 10.0

# How long the API may be out of reach, in seconds: a restart of the web server takes 6 s and more.
PATIENCE = 60.0


@dataclass
class Follower:
    """Reads every task's log again and again, and hands over what is new."""

    airflow: AirflowClient
    run: DAGRunResponse
    # Gets each record once, in the order in which it is seen.
    on_record: Callable[[Key, LogRecord], None]
    # Called once if tasks are queued for QUEUED_FOR, and none of the run is at work.
    on_wait: Callable[[], None]
    # How often each log has each record.
    seen: dict[Key, Counter[LogRecord]] = field(default_factory=dict)
    # The logs that cannot grow any more.
    finished: set[Key] = field(default_factory=set)
    # Since when tasks are queued and none is at work, by a monotonic clock; None if that is not so.
    waits_since: float | None = None
    has_waited: bool = False

    def look(self) -> DAGRunResponse:
        """Hand over what is new, and return the run as it was before that."""
        run = self.airflow.run(self.run.dag_id, self.run.dag_run_id)
        states = set()
        for task in self.airflow.task_instances(run):
            state = str(task.state.value) if task.state else ""
            states.add(state)
            # The API names only the latest try; earlier ones have ended.
            for number in range(1, task.try_number + 1):
                key = (task.task_id, task.map_index, number)
                latest = number == task.try_number
                if key in self.finished or (latest and state in NOT_STARTED):
                    continue
                self._show(key)
                if run.state in FINISHED or not latest:
                    self.finished.add(key)
        self._watch(states)
        return run

    def _watch(self, states: Collection[str]) -> None:
        """Note whether the run waits for a slot or a worker."""
        if "queued" not in states or "running" in states:
            self.waits_since = None
            return
        now = time.monotonic()
        self.waits_since = now if self.waits_since is None else self.waits_since
        if now - self.waits_since >= QUEUED_FOR and not self.has_waited:
            self.has_waited = True
            self.on_wait()

    def _show(self, key: Key) -> None:
        task_id, map_index, number = key
        try:
            log = self.airflow.task_log(self.run, task_id, number, map_index)
        except AirflowApiError:  # it is queued again, or its worker has not written anything yet
            return
        # A relayed record has the function's time, not the time of its arrival, so new ones need not be last.
        seen = self.seen.setdefault(key, Counter())
        now: Counter[LogRecord] = Counter()
        for record in log.records:
            now[record] += 1
            if now[record] > seen[record]:
                self.on_record(key, record)
        self.seen[key] = seen | now

    def to_the_end(self, on_state: Callable[[str], None]) -> DAGRunResponse:
        """Go on until the run has ended.

        :param on_state: gets each new state.
        :raises windtunnel.waiting.WaitTimeout: after a day, or if the API does not answer any more.
        """
        states: list[str] = []

        def ended() -> DAGRunResponse | None:
            run = self.look()
            if states[-1:] != [run.state.value]:
                states.append(run.state.value)
                on_state(states[-1])
            return run if run.state in FINISHED else None

        what = f"the run {self.run.dag_run_id} of {self.run.dag_id} to end"
        bounds = {"timeout": TIMEOUT, "interval": INTERVAL, "patience": PATIENCE}
        return wait_until(what, ended, **bounds, hint=f"See {COMMAND} status", retry_on=(AirflowApiError,))
