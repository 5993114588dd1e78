from pathlib import Path

import pytest

from windtunnel.services import secrets


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of one of Airflow's services."""
    (tmp_path / "postgres_password").write_text("pw")
    (tmp_path / "simple_auth_manager_passwords.json").write_text('{"admin": "secret"}')
    return {"SECRETS_FOLDER": str(tmp_path), "POSTGRES_ADDRESS": "postgres:5432"}


def test_the_databases_address_is_one_for_psycopg2(environment: dict[str, str]) -> None:
    assert secrets.database_dsn(environment) == "postgresql://airflow:pw@postgres:5432/airflow"


def test_login(environment: dict[str, str]) -> None:
    assert secrets.admin_login(environment) == ("admin", "secret")
