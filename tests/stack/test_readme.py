"""The README shows what is in the repository."""

import re
from pathlib import Path

from windtunnel.stack import env_file
from windtunnel.stack.settings import ROOT


def test_the_test_in_the_readme_is_one_that_runs() -> None:
    (shown,) = re.findall(
        r"^```python\n(def test_.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )

    assert shown in (ROOT / "tests" / "compose" / "test_demo_dag.py").read_text()


def test_every_setting_of_its_table_may_be_a_line_of_env() -> None:
    """But for the one that says which file that is."""
    rows = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)*) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"ENV_FILE"}
    assert {"PARALLELISM", "DAGS_FOLDER", "WEBSERVER_PORT"} <= names

    assert list(env_file.findings(Path(".env"), dict.fromkeys(names, "1"), ROOT / "docker-compose.yml")) == []
