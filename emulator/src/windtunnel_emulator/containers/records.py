"""moto's records of a service on disk, so that clusters and definitions outlive LocalStack as tasks do.

Used for the services whose work agents run: a task that goes on needs its cluster and its definition.
"""

import logging
import pickle
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from localstack import config
from localstack.aws.api import RequestContext
from moto.backends import get_backend
from moto.core.base_backend import BaseBackend

LOG = logging.getLogger(__name__)

# Operations with nothing to save in moto's records.
_CHANGE_NOTHING = ("Describe", "List", "Get", "RunTask", "StopTask", "SubmitJob", "TerminateJob", "CancelJob")

# What a backend has beside records: it makes that itself.
_NOT_RECORDS = ("_url_module", "account_id", "region_name")

# Calls come in many threads at a time, and the last to save is to save the latest.
_SAVING = threading.Lock()

type Handler = Callable[[RequestContext, Mapping[str, Any]], Any]


class _Pickler(pickle.Pickler):
    """Leaves out backends, which queues and definitions of Batch refer to: LocalStack makes those itself."""

    def persistent_id(self, found: object) -> tuple[str, str] | None:
        return (found.account_id, found.region_name) if isinstance(found, BaseBackend) else None


class _Unpickler(pickle.Unpickler):
    """Puts in the backends of this LocalStack."""

    def __init__(self, file: BinaryIO, service: str) -> None:
        super().__init__(file)
        self._backends = get_backend(service)  # type: ignore[call-overload]

    def persistent_load(self, name: tuple[str, str]) -> object:
        account, region = name
        return self._backends[account][region]


def keeping(service: str, operation: str, handler: Handler) -> Handler:
    """Return a handler of an operation that saves the records after a change."""
    if operation.startswith(_CHANGE_NOTHING):
        return handler

    def handle(context: RequestContext, request: Mapping[str, Any]) -> Any:
        answer = handler(context, request)
        save(service)
        return answer

    return handle


def restore(service: str) -> None:
    """Take up the records that were saved; damaged ones are named in the log and left out."""
    path = _path(service)
    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            saved = _Unpickler(file, service).load()
        for (account, region), attributes in saved.items():
            backend: Any = get_backend(service)[account][region]  # type: ignore[call-overload]
            vars(backend).update(attributes)
    except Exception as error:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        LOG.error(
            "%s begins without its records, because %s is damaged (%s). It is now %s.",
            service,
            path,
            error,
            aside,
        )


def save(service: str) -> None:
    """Save the records of a service, of all accounts and regions."""
    with _SAVING:
        backends = get_backend(service)  # type: ignore[call-overload]
        found = {
            (account, region): {
                name: value for name, value in vars(backend).items() if name not in _NOT_RECORDS
            }
            for account, regions in backends.items()
            for region, backend in regions.items()
        }
        path = _path(service)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        with new.open("wb") as file:
            _Pickler(file).dump(found)
        new.replace(path)


def _path(service: str) -> Path:
    return Path(config.dirs.data) / "containers" / f"{service}.pickle"
