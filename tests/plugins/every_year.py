"""A plugin of the user's own: a timetable, and a module that DAGs import."""

from airflow.plugins_manager import AirflowPlugin
from airflow.timetables.trigger import CronTriggerTimetable


class EveryYear(CronTriggerTimetable):
    """On the first of January."""

    def __init__(self) -> None:
        super().__init__("0 0 1 1 *", timezone="UTC")

    @classmethod
    def deserialize(cls, data: dict[str, object]) -> "EveryYear":
        return cls()

    def serialize(self) -> dict[str, object]:
        return {}


class EveryYearPlugin(AirflowPlugin):
    name = "every_year"
    timetables = [EveryYear]  # noqa: RUF012 - as Airflow's page has it
