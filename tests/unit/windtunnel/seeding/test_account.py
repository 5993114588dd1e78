import os
from pathlib import Path
from tempfile import gettempdir

import pytest

from windtunnel.seeding import account


def test_the_account_lies_with_the_temporary_files_of_localstack(tmp_path: Path) -> None:
    """In the local engine several of them share one machine."""
    assert account.file({"TMPDIR": str(tmp_path)}).parent == tmp_path
    assert account.file({}).parent == Path(gettempdir())


def test_the_last_line_on_an_installation_is_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An installation may be reported while the account is held."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert account.progress(os.environ) == ""

    with account.changed():
        account.report("installing lambdas/one/requirements.txt")

    assert account.progress(os.environ) == "installing lambdas/one/requirements.txt"
    assert account.read(os.environ)["failures"] == {}
