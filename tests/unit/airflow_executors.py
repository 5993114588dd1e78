"""Other executors for an Airflow that runs already."""

from collections import defaultdict

import pytest
from airflow.executors import executor_loader


def configure_executors(monkeypatch: pytest.MonkeyPatch, executors: str) -> None:
    """Let Airflow have these executors until the test ends.

    :param executors: as the setting ``core.executor`` names them, which Airflow reads once.
    """
    for kind in ("alias_to_executors", "module_to_executors", "classname_to_executors"):
        monkeypatch.setattr(executor_loader, f"_{kind}_per_team", defaultdict(dict))
    monkeypatch.setattr(executor_loader, "_team_name_to_executors", defaultdict(list))
    monkeypatch.setattr(executor_loader, "_executor_names", [])
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executors)
