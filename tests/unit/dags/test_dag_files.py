"""Which files Airflow looks at: a real one answers, in a process as ``./windtunnel`` asks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from windtunnel.services import answers

DAG = "from airflow.sdk import DAG\nDAG('one')\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An Airflow's home in which ``dags`` is a link, as on the local engine."""
    files = {
        "seen.py": DAG,
        "empty.py": "",
        "ignored.py": DAG,
        "sub/seen.py": DAG,
        "sub/ignored.py": DAG,
        "sub/deeper/ignored.py": DAG,
        "sub/deeper/kept.py": DAG,
        ".airflowignore": "ignored.py\n!sub/deeper/kept.py\n",
        "sub/.airflowignore": "ignored*\ndeeper/*.py\n!deeper/kept.py\n",
    }
    for name, content in files.items():
        path = tmp_path / "repository" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    home = tmp_path / "home"
    home.mkdir()
    (home / "dags").symlink_to(tmp_path / "repository")
    return home


def listed(home: Path, **settings: str) -> list[str]:
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(answers.__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        **settings,
    }
    command = [sys.executable, "-m", "windtunnel.services.answers", "listed_dag_files"]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60)
    return list(json.loads(said.stdout.splitlines()[-1]))


def test_each_airflowignore_is_followed(home: Path) -> None:
    assert listed(home) == ["seen.py", "sub/deeper/kept.py", "sub/seen.py"]


def test_airflows_own_settings_are_followed(home: Path) -> None:
    (home / "dags/.airflowignore").write_text("/seen\n")
    (home / "dags/sub/.airflowignore").write_text("ign.*d\n")

    found = listed(
        home,
        AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX="regexp",
        AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE="False",
    )

    assert found == ["empty.py", "ignored.py", "seen.py", "sub/deeper/kept.py"]


def test_none_if_dags_are_elsewhere(home: Path) -> None:
    bundle = {
        "name": "releases",
        "classpath": "custom.bundles.s3_release_bundle.S3ReleaseBundle",
        "kwargs": {"bucket_name": "bucket"},
    }

    assert listed(home, AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps([bundle])) == []
