"""``.env`` means what it means to Compose: the values here are those of ``docker compose config``."""

from pathlib import Path

import pytest

from windtunnel.stack import env_file
from windtunnel.stack.errors import StackError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=a b # c", "a b"),
        ("X=a#b", "a#b"),
        ("export X=1", "1"),
        ("X='lit $HOME ${HOME} # \"x\"'", 'lit $HOME ${HOME} # "x"'),
        ('X="$UNSET ${KNOWN} \\"q\\""', ' known "q"'),
        ("X=pa$word", "pa"),
        ("X=pa$$word", "pa$word"),
        ("X=${NOPE:-default}", "default"),
        ("X=", ""),
        ('X={"a": "b"}', '{"a": "b"}'),
        ('X=\'{"c": "d#e"}\'', '{"c": "d#e"}'),
        ('X="one\ntwo"', "one\ntwo"),
        ("X=postgresql://u:p%40@h:5432/db?x=1", "postgresql://u:p%40@h:5432/db?x=1"),
        ("KNOWN", "known"),
        ("KNOWN=file\nX=${KNOWN}", "known"),
    ],
)
def test_values(tmp_path: Path, line: str, value: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"{line}\n")

    found = env_file.read(file, {"KNOWN": "known"})

    assert list(found.values())[-1] == value


@pytest.mark.bad_input(65)
@pytest.mark.parametrize("content", [b"X='open\n", b"X=\xff\n", b"X=${\n"])
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)

    with pytest.raises(StackError, match="cannot be read") as caught:
        env_file.read(file, {})

    assert str(file) in str(caught.value)
    assert "'open" not in str(caught.value)
