"""What the checks without a stack ask of Airflow; a real one answers, in a process as they start it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from windtunnel.pytest_plugin.static_checks import inside

DAG = "from airflow.sdk import DAG\n"


class Dags:
    """A folder of DAG files, and a home for an Airflow without a database."""

    def __init__(self, path: Path) -> None:
        self.folder = path / "dags"
        self.home = path / "home"
        for folder in (self.folder, self.home / "config"):
            folder.mkdir(parents=True)
        # As on the stack.
        (self.home / "dags").symlink_to(self.folder)

    def file(self, name: str, content: str) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return str(path)

    def seed(self, kind: str, content: dict[str, Any]) -> None:
        (self.home / "config" / f"{kind}.json").write_text(json.dumps(content))

    def parse(self, **settings: str) -> dict[str, dict[str, Any]]:
        """What comes of each file."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": f"{self.home}:{Path(inside.__file__).parents[3]}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/none.db",
            **settings,
        }
        command = [sys.executable, "-P", inside.__file__, "dags", str(self.folder)]
        process = subprocess.run(
            command, env=variables, capture_output=True, text=True, check=True, timeout=60
        )
        return dict(json.loads(process.stdout.splitlines()[-1]))


@pytest.fixture
def dags(tmp_path: Path) -> Dags:
    return Dags(tmp_path)


def test_what_comes_of_files(dags: Dags) -> None:
    """One process for all: Airflow is slow to import."""
    dags.seed("variables", {"name": "from-variable", "described": {"value": [1], "description": "x"}})
    dags.seed("connections", {"db": {"conn_type": "postgres", "host": "db.test"}})
    good = dags.file("good.py", f"{DAG}print('a line')\nfirst = DAG('first')\nsecond = DAG('second')\n")
    wrong = dags.file("wrong.py", f"{DAG}import nosuch\n")
    # What Airflow finds after the import: it validates, and writes the DAG down.
    late = dags.file("late.py", f"{DAG}dag = DAG('late', description=object())\n")
    leaves = dags.file("leaves.py", f"{DAG}import sys\nsys.exit(3)\n")
    ended = dags.file("ended.py", f"{DAG}import os\nprint('last words')\nos._exit(3)\n")
    uncalled = dags.file("uncalled.py", "from airflow.sdk import dag\n@dag\ndef mine(): pass\n")
    unnamed = dags.file("unnamed.py", f"{DAG}DAG('unnamed')\n")
    factory = dags.file("common/factory.py", f"{DAG}def make(dag_id): return DAG(dag_id)\n")
    user = dags.file("user.py", f"{DAG}from common.factory import make\nmade = make('made')\n")
    other = dags.file("other.py", f"{DAG}from dags.common.factory import make\nmade = make('also-made')\n")
    seeded = dags.file(
        "seeded.py",
        "from airflow.sdk import DAG, BaseHook, Variable\n"
        "assert Variable.get('described', deserialize_json=True) == [1]\n"
        "assert BaseHook.get_connection('db').host == 'db.test'\n"
        "dag = DAG(Variable.get('name'))\n",
    )
    # Neither is a DAG file to Airflow.
    dags.file("helper.py", "import nosuch\n")
    dags.file(".airflowignore", "ignored/\n")
    dags.file("ignored/dag.py", f"{DAG}import nosuch\n")
    # Modules of one name, each of another file's own.
    for name in ("one", "two"):
        dags.file(f"{name}/same.py", f"DAG_ID = 'of-{name}'\n")
    own = "import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent))\n"
    of_one, of_two = (
        dags.file(f"{name}/dag.py", f"{DAG}{own}from same import DAG_ID\ndag = DAG(DAG_ID)\n")
        for name in ("one", "two")
    )

    answers = dags.parse()

    assert {file: answer.get("dag_ids") for file, answer in answers.items()} == {
        good: ["first", "second"],
        wrong: [],
        late: [],
        leaves: [],
        ended: None,
        uncalled: [],
        unnamed: [],
        factory: [],
        user: ["made"],
        other: ["also-made"],
        seeded: ["from-variable"],
        of_one: ["of-one"],
        of_two: ["of-two"],
    }
    assert list(answers) == sorted(answers)
    assert [file for file, answer in answers.items() if answer.get("errors")] == sorted([wrong, late, leaves])
    assert answers[wrong]["errors"][0].endswith("ModuleNotFoundError: No module named 'nosuch'\n")
    assert answers[ended]["ended"] == 3
    assert answers[ended]["output"].endswith("last words\n")
    made = {file for file, answer in answers.items() if answer.get("makes_dags")}
    assert made == {good, late, uncalled, unnamed, factory, seeded, of_one, of_two}
    assert [file for file, answer in answers.items() if factory in answer.get("imports", ())] == [other, user]
    # It is not to be taken for a helper.
    assert uncalled not in answers[uncalled]["imports"]


def test_of_time_only_the_files_own_counts_and_one_without_an_end_is_stopped(dags: Dags) -> None:
    quick = dags.file("quick.py", f"{DAG}dag = DAG('quick')\n")
    slow = dags.file("slow.py", f"{DAG}import threading\nthreading.Event().wait(0.4)\n")
    # Airflow's own limit is by a signal, which not everything heeds.
    deaf = dags.file(
        "deaf.py",
        f"{DAG}import signal, threading\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\nthreading.Event().wait()\n",
    )

    answers = dags.parse(AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT="2")

    # Airflow's import takes seconds.
    assert answers[quick]["seconds"] < 1
    assert 0.4 <= answers[slow]["seconds"] < 1.4
    assert answers[deaf]["ended"] == 1
    assert "Timeout (0:00:02)!" in answers[deaf]["output"]
    assert f'{deaf}", line 4' in answers[deaf]["output"]
