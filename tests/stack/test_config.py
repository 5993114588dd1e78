"""The files of config/: each can be read by the program that it is for."""

import ast
import configparser
import json
import re
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT

CONFIG = ROOT / "config"
FILES = sorted(
    path.relative_to(CONFIG) for path in CONFIG.rglob("*") if path.is_file() and path.suffix != ".pyc"
)
# A file of a new kind needs a line here, and so a thought about who reads it.
READERS = {".cfg", ".json", ".py"}

# One home for the names that the demo, the seeding and the log settings share.
BUCKET = "airflow-lambda-logs"


@pytest.fixture(scope="module")
def airflow_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string((CONFIG / "airflow.cfg").read_text())
    return parser


@pytest.mark.parametrize("path", FILES, ids=str)
def test_can_be_read(path: Path) -> None:
    assert path.suffix in READERS
    text = (CONFIG / path).read_text()
    match path.suffix:
        case ".json":
            assert isinstance(json.loads(text), dict)
        case ".py":
            ast.parse(text, filename=str(path))
        case ".cfg":
            parser = configparser.ConfigParser(interpolation=None, strict=True)
            parser.read_string(text)
            assert parser.sections()


def test_secrets_are_read_by_command_and_never_stand_in_the_file(
    airflow_cfg: configparser.ConfigParser,
) -> None:
    for section, option in [
        ("core", "fernet_key"),
        ("database", "sql_alchemy_conn"),
        ("api", "secret_key"),
        ("api_auth", "jwt_secret"),
    ]:
        assert option not in airflow_cfg[section], f"[{section}] {option}"
        command = airflow_cfg[section][f"{option}_cmd"]
        assert re.search(r'\bcat "\$SECRETS_FOLDER/\w+"', command), f"[{section}] {option}"


def test_login_is_on(airflow_cfg: configparser.ConfigParser) -> None:
    assert not airflow_cfg.getboolean("core", "simple_auth_manager_all_admins", fallback=False)


def test_task_logs_go_encrypted_to_the_bucket_that_is_seeded(airflow_cfg: configparser.ConfigParser) -> None:
    logging = airflow_cfg["logging"]
    seeded = json.loads((CONFIG / "aws.json").read_text())

    assert logging.getboolean("remote_logging")
    assert logging.getboolean("encrypt_s3_logs")
    assert logging["remote_base_log_folder"] == f"s3://{BUCKET}"
    assert BUCKET in {call["Bucket"] for call in seeded["s3"]["create_bucket"]}
    assert logging["remote_log_conn_id"] in json.loads((CONFIG / "connections.json").read_text())


def test_the_demos_names_are_those_of_the_design() -> None:
    groups = {
        call["logGroupName"]
        for call in json.loads((CONFIG / "aws.json").read_text())["logs"]["create_log_group"]
    }
    function = json.loads((ROOT / "lambdas" / "airflow_test" / "function.json").read_text())
    dag = (ROOT / "dags" / "demo_dag.py").read_text()

    assert function["FunctionName"] == "airflow-test"
    assert "/airflow/lambda/airflow-test" in groups
    for name in ("demo-dag", "demo-task", "airflow-test", "/airflow/lambda/airflow-test"):
        assert f'"{name}"' in dag
