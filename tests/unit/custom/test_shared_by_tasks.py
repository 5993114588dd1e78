"""What the scheduler makes for its tasks (``config/airflow_local_settings.py``), by Airflow's own modules."""

import gc
import importlib.util
import inspect
import ssl
import weakref
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import attrs
import botocore.hooks
import botocore.session
import pytest
from airflow.providers.amazon.aws.hooks import base_aws
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.api.client import Client
from airflow.sdk.execution_time import comms
from airflow.sdk.execution_time.supervisor import WatchedSubprocess
from airflow.sdk.listener import get_listener_manager

ROOT = Path(__file__).parents[3]


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("settings", ROOT / "config" / "airflow_local_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # To be put back afterwards.
    monkeypatch.setattr(botocore.hooks, "accepts_kwargs", botocore.hooks.accepts_kwargs)
    monkeypatch.setattr(comms, "TypeAdapter", vars(comms)["TypeAdapter"])
    monkeypatch.setattr(base_aws, "inspect", inspect)
    monkeypatch.setattr(
        WatchedSubprocess, "_service_subprocess", vars(WatchedSubprocess)["_service_subprocess"]
    )
    return module


@pytest.mark.parametrize(("sockets", "wait"), [({}, 0.01), ({"a socket": "logs"}, 1.0)])
def test_a_process_that_has_closed_its_streams_is_looked_at_soon(
    settings: ModuleType, monkeypatch: pytest.MonkeyPatch, sockets: dict[str, str], wait: float
) -> None:
    """While it writes, its streams say so; once they are closed, nothing does."""
    waits: list[float] = []
    monkeypatch.setattr(
        WatchedSubprocess,
        "_service_subprocess",
        lambda _, max_wait_time, **options: waits.append(max_wait_time),
    )
    settings.notice_the_end_of_a_task_at_once()
    supervisor: Any = SimpleNamespace(_open_sockets=sockets)

    WatchedSubprocess._service_subprocess(supervisor, max_wait_time=1.0, raise_on_timeout=True)

    assert waits == [wait]


def test_airflows_supervisor_is_as_that_expects() -> None:
    looks = inspect.signature(WatchedSubprocess._service_subprocess).parameters

    assert "max_wait_time" in looks
    assert "_open_sockets" in {field.name for field in attrs.fields(WatchedSubprocess)}


def test_tasks_share_the_schema_of_what_they_are_sent(settings: ModuleType) -> None:
    settings.share_what_tasks_make()
    nowhere: Any = None
    one: comms.CommsDecoder[Any, Any] = comms.CommsDecoder(socket=nowhere)
    other: comms.CommsDecoder[Any, Any] = comms.CommsDecoder(socket=nowhere)

    assert one.body_decoder is one.err_decoder is other.body_decoder


def test_tasks_find_the_plugins_that_listen_to_them(settings: ModuleType) -> None:
    get_listener_manager.cache_clear()

    settings.share_what_tasks_make()

    assert get_listener_manager.cache_info().currsize == 1


def test_boto3_sessions_share_what_botocore_finds_out_about_its_handlers(
    settings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def accepts_kwargs(handler: Any) -> bool:
        asked.append(handler)
        return True

    monkeypatch.setattr(botocore.hooks, "accepts_kwargs", accepts_kwargs)
    settings.share_what_tasks_make()
    botocore.session.Session()
    first = len(asked)
    botocore.session.Session()

    assert first > 0
    assert len(asked) < 1.2 * first


def test_no_session_is_kept_by_what_is_shared(settings: ModuleType) -> None:
    """A worker and the triggerer make sessions for days."""
    settings.share_what_tasks_make()

    class Client:
        def handle(self, **_: Any) -> None: ...

    client = Client()
    session = botocore.session.Session()
    session.register("before-call", client.handle)
    kept = weakref.ref(client)

    del session, client
    gc.collect()

    assert kept() is None


def test_supervisors_share_the_certificates_that_they_trust(
    settings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    Client._get_ssl_context_cached.cache_clear()
    settings.share_what_tasks_make()
    read: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", lambda **options: read.append(options))

    Client(base_url="http://localhost", token="").close()

    assert read == []


class SomeOperator:
    def execute(self) -> str:
        """What a hook that it calls puts into its user agent."""
        hook = S3Hook(aws_conn_id=None, region_name="ap-southeast-2")
        return hook._generate_user_agent_extra_field("")


def test_a_hook_finds_its_caller_and_reads_no_source(
    settings: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect, "getframeinfo", lambda *_: pytest.fail("a source is read"))
    settings.find_callers_without_their_source()

    assert "Caller/SomeOperator " in SomeOperator().execute()
