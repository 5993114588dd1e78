"""How many tasks run at a time: a slot of Airflow's executor is a process that runs one task after another.

``entrypoint.sh`` runs this file by its path as each of Airflow's services starts, without any package.
"""

import configparser
import os
import sys
from collections.abc import Mapping

SETTING = "PARALLELISM"
VARIABLE = "AIRFLOW__CORE__PARALLELISM"
REMEDY = "Set it to a whole number from 1 up: how many tasks run at a time."

# Without a setting: one for each GiB of memory, within these.
LEAST, MOST = 4, 16


def is_valid(value: str) -> bool:
    """Return whether a text is a number of slots."""
    return value.isascii() and value.isdigit() and int(value) > 0


def slots(environment: Mapping[str, str], memory: int | None = None) -> int:
    """Return the number of slots: ``PARALLELISM``, else Airflow's own setting, else by the machine's memory.

    :param environment: a service's variables; ``AIRFLOW_CONFIG`` is the path of ``airflow.cfg``.
    :param memory: of the machine, in bytes; asked for if None.
    :raises ValueError: if ``PARALLELISM`` is no number of slots.
    """
    if value := environment.get(SETTING):
        if not is_valid(value):
            raise ValueError(f"{SETTING} is {value!r}. {REMEDY}")
        return int(value)
    config = configparser.ConfigParser(interpolation=None)
    config.read(environment.get("AIRFLOW_CONFIG", ""))
    airflows = environment.get(VARIABLE) or config.get("core", "parallelism", fallback="") or ""
    if is_valid(airflows):
        return int(airflows)
    memory = memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(LEAST, min(MOST, memory >> 30))


if __name__ == "__main__":
    try:
        print(slots(os.environ))  # noqa: T201
    except ValueError as error:
        sys.exit(str(error))
