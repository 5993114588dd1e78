"""Where things are inside the running stack: read by the code that runs in its containers."""

import json
import os
from pathlib import Path

CONFIG_FOLDER = Path(os.environ.get("WINDTUNNEL_CONFIG", "/opt/airflow/config"))
SECRETS_FOLDER = Path(os.environ.get("SECRETS_FOLDER", "/run/secrets/windtunnel"))


def database_dsn() -> str:
    """The metadata database's address for psycopg2: SQLAlchemy's without its driver."""
    return (SECRETS_FOLDER / "sql_alchemy_conn").read_text().replace("postgresql+psycopg2:", "postgresql:")


def admin_login() -> tuple[str, str]:
    """User and password of the web page's first user."""
    passwords = json.loads((SECRETS_FOLDER / "simple_auth_manager_passwords.json").read_text())
    user, password = next(iter(passwords.items()))
    return user, password
