"""Stand-in for the parts of Airflow and cadwyn that hold the versions of the execution API."""

import sys
from types import ModuleType, SimpleNamespace

import pytest


class Parts:
    """The names of Airflow and cadwyn that the fork server uses, as modules with no more than these."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.old, self.new = SimpleNamespace(tags=["deleted"]), SimpleNamespace(tags=[])
        self.router = SimpleNamespace(routes=[self.old, self.new])
        self.bundle = SimpleNamespace(versions=["new", "old"])
        names: dict[str, dict[str, object]] = {
            "airflow.api_fastapi.execution_api.routes": {"execution_api_router": self.router},
            "airflow.api_fastapi.execution_api.versions": {"bundle": self.bundle},
            "cadwyn.route_generation": {"_DELETED_ROUTE_TAG": "deleted"},
        }
        for name, given in names.items():
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
            vars(sys.modules[name]).update(given)
