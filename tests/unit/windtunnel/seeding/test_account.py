from pathlib import Path
from tempfile import gettempdir

from windtunnel.seeding import account


def test_the_account_lies_with_the_temporary_files_of_localstack(tmp_path: Path) -> None:
    """In the local engine several of them share one machine."""
    assert account.file({"TMPDIR": str(tmp_path)}).parent == tmp_path
    assert account.file({}).parent == Path(gettempdir())
