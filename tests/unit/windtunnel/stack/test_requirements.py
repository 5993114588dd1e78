"""The user's requirements, as people have them."""

from pathlib import Path

import pytest

from windtunnel.stack import requirements
from windtunnel.stack.errors import StackError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "repository" / "requirements.txt"
    path.parent.mkdir()
    return path


def test_a_plain_file_is_used_as_it_is(file: Path, tmp_path: Path) -> None:
    file.write_text("one==1  # ours\n")

    assert requirements.as_one_file(file, tmp_path / "copy.txt") == file


@pytest.mark.parametrize(
    "line", ["-r base.txt", "--requirement base.txt", "-r  base.txt # ours", "--requirement=base.txt"]
)
def test_what_is_included_is_part_of_it(file: Path, tmp_path: Path, line: str) -> None:
    (file.parent / "base.txt").write_text("two==2\n")
    file.write_text(f"one==1\n{line}\nthree==3\n")

    assert list(requirements.files(file)) == [file, file.parent / "base.txt"]
    copy = requirements.as_one_file(file, tmp_path / "state" / "copy.txt")
    assert copy.read_text() == "one==1\ntwo==2\nthree==3\n"


@pytest.mark.parametrize("line", ["-c https://example.com/constraints-3.13.txt", "-r ${BASE}/base.txt"])
def test_what_the_installer_has_to_read_is_left_to_it(file: Path, tmp_path: Path, line: str) -> None:
    file.write_text(f"{line}\none==1\n")

    assert list(requirements.files(file)) == [file]
    assert requirements.as_one_file(file, tmp_path / "copy.txt") == file


def test_constraints_are_found_from_the_copy_too(file: Path, tmp_path: Path) -> None:
    (file.parent / "limits.txt").write_text("one<2\n")
    file.write_text("-c limits.txt\none\n")

    assert requirements.as_one_file(file, tmp_path / "copy.txt").read_text() == (
        f"-c {file.parent / 'limits.txt'}\none\n"
    )


def test_files_in_a_circle_are_read_once(file: Path) -> None:
    (file.parent / "base.txt").write_text("-r requirements.txt\ntwo\n")
    file.write_text("-r base.txt\none\n")

    assert requirements.text(file) == "two\none\n"
    assert list(requirements.files(file)) == [file, file.parent / "base.txt"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_what_powershell_writes_can_be_read(file: Path, tmp_path: Path, encoding: str) -> None:
    file.write_text("one==1\n", encoding=encoding)

    assert requirements.as_one_file(file, tmp_path / "copy.txt").read_text() == "one==1\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xe4=1\n", "requirements.txt is neither UTF-8 nor UTF-16"),
        (b"-r no.txt\n", "no.txt cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named(file: Path, content: bytes, problem: str) -> None:
    file.write_bytes(content)

    with pytest.raises(StackError, match=problem):
        requirements.text(file)
