"""The README shows what is in the repository."""

import re

from windtunnel.stack.settings import ROOT


def test_the_test_in_the_readme_is_one_that_runs() -> None:
    (shown,) = re.findall(
        r"^```python\n(def test_.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )

    assert shown in (ROOT / "tests" / "compose" / "test_demo_dag.py").read_text()
