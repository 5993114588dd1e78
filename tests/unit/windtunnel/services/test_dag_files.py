"""Which files make a DAG that Airflow does not get."""

from pathlib import Path

import pytest

from windtunnel.services import dag_files

DAG = "DAG('one')\n"


@pytest.mark.parametrize(
    ("importer", "statement", "helper"),
    [
        ("main.py", "import helper", "helper.py"),
        ("main.py", "from helper import part", "helper.py"),
        ("main.py", "from dags.team.helper import part", "team/helper.py"),
        ("team/main.py", "from .helper import part", "team/helper.py"),
        ("team/main.py", "from . import helper", "team/helper.py"),
        ("team/deep/main.py", "from ..helper import part", "team/helper.py"),
        ("team/deep/main.py", "from ...helper import part", "helper.py"),
        ("team/deep/main.py", "from ... import helper", "helper.py"),
    ],
)
def test_a_file_that_another_one_imports_is_a_helper(
    tmp_path: Path, importer: str, statement: str, helper: str
) -> None:
    for name, text in ((importer, f"{statement}\n{DAG}"), (helper, DAG)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert dag_files.suspects(tmp_path, known=()) == [importer]


def test_a_file_of_the_same_name_elsewhere_is_none(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team/main.py").write_text(f"from .helper import part\n{DAG}")
    (tmp_path / "helper.py").write_text(DAG)

    assert dag_files.suspects(tmp_path, known=("team/main.py",)) == ["helper.py"]


def test_a_dag_that_is_made_under_a_condition_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "conditional.py").write_text(
        f"import os\nif os.environ.get('ECS'):\n    {DAG}else:\n    {DAG}"
    )
    (tmp_path / "function.py").write_text(f"def make():\n    if True:\n        {DAG}")

    assert dag_files.suspects(tmp_path, known=()) == ["function.py"]
