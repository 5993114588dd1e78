"""What ``docs/borrowed.md`` lists of Airflow is there, and as it was."""

import importlib
import inspect
from typing import Any

import pytest
from airflow.jobs.job import Job
from airflow.models import Connection, Variable
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.errors import ParseImportError
from airflow.utils.log import file_task_handler


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("cadwyn.route_generation", "_DELETED_ROUTE_TAG"),
        ("airflow.executors.local_executor", "LocalExecutor._process_workloads"),
        ("airflow.providers.amazon.aws.hooks.base_aws", "AwsGenericHook._get_config"),
        ("airflow.cli.cli_parser", "get_parser"),
    ],
)
def test_private_names_of_airflow_are_there(module: str, name: str) -> None:
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)


def test_wordings_of_airflow_are_the_same() -> None:
    assert '"Could not read served logs"' in inspect.getsource(file_task_handler)


def test_columns_of_airflows_tables_are_there() -> None:
    wanted: dict[Any, set[str]] = {
        Job: {"job_type", "state", "hostname", "start_date", "latest_heartbeat"},
        DagModel: {"relative_fileloc", "is_stale", "bundle_name", "bundle_version"},
        DagBundleModel: {"name", "version"},
        DagRun: {"bundle_version", "state"},
        ParseImportError: {"filename", "stacktrace", "timestamp"},
        Connection: {"conn_id"},
        Variable: {"key"},
    }
    for model, columns in wanted.items():
        assert columns <= set(model.__table__.columns.keys()), model
