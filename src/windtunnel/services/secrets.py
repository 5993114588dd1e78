"""Where things are inside the running stack, by a service's environment."""

import json
from collections.abc import Mapping
from pathlib import Path


def config_folder(environment: Mapping[str, str]) -> Path:
    """The folder with ``airflow.cfg`` and what is seeded."""
    return Path(environment["AIRFLOW_HOME"]) / "config"


def secret(environment: Mapping[str, str], name: str) -> str:
    """The content of one of the secrets that ``entrypoint.sh`` makes."""
    return (Path(environment["SECRETS_FOLDER"]) / name).read_text()


def database_dsn(environment: Mapping[str, str]) -> str:
    """The metadata database's address, for psycopg2."""
    password = secret(environment, "postgres_password")
    return f"postgresql://airflow:{password}@{environment['POSTGRES_ADDRESS']}/airflow"


def admin_login(environment: Mapping[str, str]) -> tuple[str, str]:
    """User and password of the web page's first user."""
    passwords = json.loads(secret(environment, "simple_auth_manager_passwords.json"))
    user, password = next(iter(passwords.items()))
    return user, password
