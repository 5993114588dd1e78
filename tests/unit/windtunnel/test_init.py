import subprocess
import sys

import pytest

import windtunnel
from windtunnel.stack.settings import ROOT


def test_an_import_of_the_package_imports_nothing_else() -> None:
    """Services import it at each start."""
    code = (
        "import sys, typing\n"
        "before = set(sys.modules)\n"
        "import windtunnel\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", code]

    said = subprocess.check_output(command, env={"PYTHONPATH": str(ROOT / "src")}, text=True)

    assert said.split() == ["windtunnel"]


@pytest.mark.parametrize("name", windtunnel.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(windtunnel, name).__name__ == name
    assert name in dir(windtunnel)


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'DagRan'"):
        _ = windtunnel.DagRan  # type: ignore[attr-defined]
    assert sorted(name for names in windtunnel._MODULES.values() for name in names) == windtunnel.__all__
