"""What a function's or a layer's ``requirements.txt`` asks for."""

from pathlib import Path
from typing import NamedTuple

from windtunnel.seeding.validation import SeedingError
from windtunnel.stack import requirements
from windtunnel.stack.errors import StackError

FILE = "requirements.txt"


class Required(NamedTuple):
    """Requirements, wherever their files are.

    :param lines: each with the file and the line where it stands.
    :param constraints: the text of the constraints.
    """

    lines: list[tuple[str, str]]
    constraints: str


def required(path: Path, boundary: Path) -> Required | None:
    """Return what a file and all that it includes require; None if that is nothing.

    :param boundary: the folder with all functions, which LocalStack has before it: includes may not leave it.
    :raises SeedingError: if a file cannot be read.
    """
    if not path.exists():
        return None
    real = boundary.resolve()
    lines, constraints = [], ""
    try:
        for file in requirements.files(path):
            if not file.resolve().is_relative_to(real):
                raise SeedingError(
                    f"{_name(path, boundary)} includes {file.name}, which is outside of {boundary.name}/: "
                    f"move that into {boundary.name}/, into a folder whose name begins with _"
                )
        for line in requirements.lines(path):
            if named := line.constraints:
                constraints += requirements.text(named)
            else:
                lines.append((f"{_name(line.file, boundary)}, line {line.number}", line.text))
    except StackError as error:
        raise SeedingError(f"{_name(path, boundary)}: {error.what}") from error
    is_asking = any(text.strip() and not text.lstrip().startswith("#") for _, text in lines)
    return Required(lines, constraints) if is_asking else None


def _name(file: Path, boundary: Path) -> str:
    return f"{boundary.name}/{file.resolve().relative_to(boundary.resolve())}"
