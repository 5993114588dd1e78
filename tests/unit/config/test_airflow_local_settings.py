"""What tasks find imported, and that it is not what was edited since."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.loaders import JSONFileLoader

from windtunnel.stack.settings import ROOT


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """The file, loaded as in a process that is no scheduler, and a package of ours to preload."""
    spec = importlib.util.spec_from_file_location("settings", ROOT / "config" / "airflow_local_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "editable").mkdir()
    (tmp_path / "editable" / "module.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(module, "PRELOADED", ("json",))
    # To be put back afterwards.
    monkeypatch.setattr(botocore.session, "create_loader", botocore.session.create_loader)
    # It needs Airflow: tests/unit/custom/test_shared_by_tasks.py.
    monkeypatch.setattr(module, "share_what_tasks_make", lambda: None)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    monkeypatch.setattr(module, "PRELOADED_UNLESS_EDITED", ("editable.module",))
    monkeypatch.setattr(module, "EDITABLE_PACKAGES", ("editable",))
    yield module
    for name in module.editable_modules():
        del sys.modules[name]


@pytest.fixture
def fork(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Do what happens in a process just after it was forked."""
    hooks: list[Callable[[], None]] = []
    monkeypatch.setattr(os, "register_at_fork", lambda after_in_child: hooks.append(after_in_child))

    def happen() -> None:
        for hook in hooks:
            hook()

    return happen


def test_a_task_finds_it_imported(settings: ModuleType, fork: Callable[[], None]) -> None:
    settings.preload()
    before = sys.modules["editable.module"]

    fork()

    assert sys.modules["editable.module"] is before


def test_boto3_sessions_share_what_they_read_of_boto3s_files(
    settings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.preload()
    read = []
    monkeypatch.setattr(JSONFileLoader, "load_file", lambda _, path: read.append(path))

    for service in settings.AWS_SERVICES:
        assert boto3.session.Session().client(service).meta.service_model.service_name == service

    assert read == []


def edited(folder: Path) -> None:
    (folder / "module.py").write_text("VALUE = 2  # changed\n")


def put_in_the_shade(folder: Path) -> None:
    (folder / "another.py").write_text("")


def removed(folder: Path) -> None:
    (folder / "module.py").unlink()


@pytest.mark.parametrize("change", [edited, put_in_the_shade, removed])
def test_a_task_imports_anew_what_was_changed(
    settings: ModuleType, fork: Callable[[], None], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    settings.preload()
    change(tmp_path / "editable")

    fork()

    assert settings.editable_modules() == []


def test_a_file_that_cannot_be_imported_does_not_keep_the_scheduler_from_starting(
    settings: ModuleType, fork: Callable[[], None], tmp_path: Path, caplog: Any
) -> None:
    (tmp_path / "editable" / "module.py").write_text("import no_such_module\n")

    settings.preload()

    assert "no_such_module" in caplog.text


@pytest.mark.parametrize(
    ("command", "forks"),
    [
        ("scheduler --skip-serve-logs", True),
        ("celery worker --queues default", True),
        ("celery flower", False),
        ("triggerer", False),
        ("", False),
    ],
)
def test_what_forks_processes_for_tasks(settings: ModuleType, command: str, forks: bool) -> None:
    assert settings.forks_tasks(command.split()) is forks
