"""The user's ``requirements.txt``, with the files that it includes."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from windtunnel.stack.errors import StackError

# What PowerShell writes begins with one of these.
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# https://pip.pypa.io/en/stable/reference/requirements-file-format/
# An address, or a path with a variable, is the installer's to read. Airflow's constraints are an address.
_INCLUDES = re.compile(
    r"^\s*(?P<option>-r|--requirement|-c|--constraint)[=\s]\s*(?P<file>(?!\w+://)[^\s#$]+)(?=\s|$)"
)


CONSTRAINT = "-c "


class Line(NamedTuple):
    """A line of a file of requirements, and where it stands."""

    file: Path
    number: int
    text: str

    @property
    def constraints(self) -> Path | None:
        """The file of constraints that it names, if it names one."""
        return Path(self.text.removeprefix(CONSTRAINT)) if self.text.startswith(CONSTRAINT) else None


def files(path: Path, seen: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield a file of requirements, and all requirements and constraints that it includes.

    :raises StackError: if one of them cannot be read.
    """
    if path in seen:
        return
    yield path
    for line in _read(path).splitlines():
        if found := _INCLUDES.match(line):
            yield from files(path.parent / found["file"], (*seen, path))


def as_one_file(path: Path, copy: Path) -> Path:
    """Return a file of requirements that uv can read at any place.

    :param path: returned as it is if it is UTF-8 and includes nothing.
    :param copy: written otherwise, with what is included in place of the lines that include it.
    :raises StackError: if a file cannot be read.
    """
    if len(list(files(path))) == 1 and path.read_bytes().decode(errors="replace") == _read(path):
        return path
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text(path))
    return copy


def text(path: Path) -> str:
    """Return a file of requirements with what it includes in place of the lines that include it.

    :raises StackError: if a file cannot be read.
    """
    return "".join(f"{line.text}\n" for line in lines(path))


def lines(path: Path, seen: tuple[Path, ...] = ()) -> Iterator[Line]:
    """Yield the lines of ``text``; one for constraints begins with ``CONSTRAINT`` and has the whole path.

    :raises StackError: if a file cannot be read.
    """
    for number, line in enumerate(_read(path).splitlines(), 1):
        found = _INCLUDES.match(line)
        if not found:
            yield Line(path, number, line)
        elif found["option"] in ("-c", "--constraint"):
            yield Line(path, number, f"{CONSTRAINT}{(path.parent / found['file']).resolve()}")
        elif (other := path.parent / found["file"]) not in seen:
            yield from lines(other, (*seen, path))


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "is neither UTF-8 nor UTF-16"
    raise StackError(
        f"the file of requirements {path} {reason}", next_step="Correct it, or the line that names it."
    )
