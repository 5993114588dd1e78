from pathlib import Path

import pytest

from windtunnel import stack


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(stack, "SECRETS_FOLDER", tmp_path)
    return tmp_path


def test_the_databases_address_is_one_for_psycopg2(secrets: Path) -> None:
    (secrets / "sql_alchemy_conn").write_text("postgresql+psycopg2://airflow:pw@postgres:5432/airflow")

    assert stack.database_dsn() == "postgresql://airflow:pw@postgres:5432/airflow"


def test_login(secrets: Path) -> None:
    (secrets / "simple_auth_manager_passwords.json").write_text('{"admin": "secret"}')

    assert stack.admin_login() == ("admin", "secret")
