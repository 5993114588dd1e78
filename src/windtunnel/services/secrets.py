"""The secrets that ``entrypoint.sh`` makes, by a service's environment."""

import json
from collections.abc import Mapping
from pathlib import Path


def _secret(environment: Mapping[str, str], name: str) -> str:
    return (Path(environment["SECRETS_FOLDER"]) / name).read_text()


def database_dsn(environment: Mapping[str, str]) -> str:
    """Return the metadata database's address, for psycopg2."""
    password = _secret(environment, "postgres_password")
    return f"postgresql://airflow:{password}@{environment['POSTGRES_ADDRESS']}/airflow"


def admin_login(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return name and password of the web page's first user."""
    passwords: dict[str, str] = json.loads(_secret(environment, "simple_auth_manager_passwords.json"))
    return next(iter(passwords.items()))
