"""A false uv for tests of venvs."""

from collections.abc import Mapping
from pathlib import Path

from windtunnel.stack.errors import StackError


class Uv:
    """A false uv: makes the folders that uv would make, and can fail."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        # A call that has this in it fails.
        self.fails_at = ""

    def __call__(self, *arguments: str | Path, settings: Mapping[str, str]) -> None:
        self.calls.append(list(map(str, arguments)))
        if self.fails_at and self.fails_at in " ".join(self.calls[-1]):
            raise StackError("uv failed")
        if arguments[0] == "venv":
            Path(arguments[-1]).mkdir(parents=True)
        if "--target" in arguments:
            Path(arguments[arguments.index("--target") + 1]).mkdir(parents=True, exist_ok=True)

    def about(self, name: str) -> list[str]:
        """Return the calls in which a word ends with that name."""
        return [" ".join(call) for call in self.calls if any(word.endswith(name) for word in call)]
