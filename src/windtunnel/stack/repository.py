"""A repository of DAGs: its ``[tool.windtunnel]``, and the settings of a stack that come of it.

Pytest imports this module in every repository, so it imports nothing heavy.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windtunnel.stack.errors import StackError

if TYPE_CHECKING:
    from windtunnel.seeding.resources import Call

# Keys for the stack's folders and files, with the setting that each becomes.
SETTINGS = {
    "dags": "DAGS_FOLDER",
    "lambdas": "LAMBDAS_FOLDER",
    "custom": "CUSTOM_FOLDER",
    "plugins": "PLUGINS_FOLDER",
    "config": "CONFIG_FOLDER",
    "requirements": "REQUIREMENTS_FILE",
}

# Keys for paths. An option may take the place of each.
PATHS = (*SETTINGS, "aws")

# The usual path, if it is not the key's own name.
USUAL = {"requirements": "requirements.txt", "aws": "aws.json"}

# Folders that a stack needs: a repository without one gets an empty one.
EMPTY_IF_ABSENT = ("dags", "lambdas", "custom", "plugins")

# The engines of `windtunnel.stack.choose`, which is heavy.
ENGINES = ("compose", "local")

# How long a DAG file may take to parse, in seconds.
TIME_BUDGET = "dag_time_budget"

# Overlays: names, or paths of compose files.
WITH = "with"
WITH_SETTING = "WINDTUNNEL_WITH"

# What each key takes, in words and as a test.
KEYS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **{name: ("a path", lambda value: isinstance(value, str)) for name in PATHS},
    TIME_BUDGET: (
        "a number of seconds",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value > 0,
    ),
    "engine": (f"one of {', '.join(ENGINES)}", lambda value: value in ENGINES),
    WITH: (
        "a list of names and paths",
        lambda value: isinstance(value, list) and all(isinstance(name, str) and name for name in value),
    ),
}


@dataclass(frozen=True)
class Repository:
    """A repository of DAGs.

    :param folder: its root, with ``pyproject.toml``. The other fields take the place of what that says:
    :param options: absolute paths, by key.
    :param overlays: names and absolute paths of overlays.
    """

    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)
    overlays: Sequence[str] = ()

    @classmethod
    def around(cls, folder: Path) -> "Repository | None":
        """Return the repository that a folder is in; None if no ``pyproject.toml`` above configures one."""
        for root in (folder, *folder.parents):
            if "windtunnel" in _tools(root / "pyproject.toml"):
                return cls(root)
        return None

    @property
    def state_folder(self) -> Path:
        """The folder of all that Windtunnel writes in the repository."""
        return self.folder / ".windtunnel"

    @property
    def _file(self) -> Path:
        return self.folder / "pyproject.toml"

    def _refuse(self, what: str) -> StackError:
        return StackError(f"[tool.windtunnel] in {self._file}: {what}")

    @cached_property
    def configuration(self) -> Mapping[str, Any]:
        """What ``[tool.windtunnel]`` says.

        :raises StackError: if there is no such key, or a key does not take its value.
        """
        found: dict[str, Any] = _tools(self._file).get("windtunnel", {})
        for key, value in found.items():
            if key not in KEYS:
                raise self._refuse(f"{key}; there are: {', '.join(KEYS)}")
            taken, fits = KEYS[key]
            if not fits(value):
                raise self._refuse(f"{key} = {value!r} is not {taken}")
        return found

    def path(self, key: str) -> Path | None:
        """Return a file or folder of the repository; None if it is not there and not named.

        :param key: one of ``PATHS``.
        :raises StackError: if it is named, and not there.
        """
        option = self.options.get(key)
        path = self.folder / (option or self.configuration.get(key) or USUAL.get(key, key))
        if path.exists():
            return path
        if option:
            raise StackError(f"--windtunnel-{key}: {path} is not there")
        if key in self.configuration:
            raise self._refuse(f"{key} = {self.configuration[key]!r} is not there")
        return None

    def resources(self) -> "Sequence[Call]":
        """Return the calls that ``aws.json`` lists.

        :raises StackError: if it is named, and not there.
        :raises SeedingError: if it cannot be used.
        """
        from windtunnel.seeding.resources import load_resources

        file = self.path("aws")
        return load_resources(file) if file else ()

    def settings(self) -> dict[str, str]:
        """Return the settings of a stack that the configuration stands for.

        :raises StackError: if the configuration cannot be used, or a folder is not there.
        """
        settings = {}
        for key, setting in SETTINGS.items():
            path = self.path(key)
            if path is None and key in EMPTY_IF_ABSENT:
                path = self.state_folder / "empty" / key
                path.mkdir(parents=True, exist_ok=True)
            if path is not None:
                settings[setting] = str(path)
        if (env_file := self.folder / ".env").is_file():
            settings["ENV_FILE"] = str(env_file)
        if engine := self.configuration.get("engine"):
            settings["WINDTUNNEL_ENGINE"] = engine
        if overlays := self.overlays or [self._overlay(name) for name in self.configuration.get(WITH, ())]:
            settings[WITH_SETTING] = ",".join(overlays)
        return settings

    def _overlay(self, name: str) -> str:
        overlay = absolute_overlay(name, self.folder)
        if overlay != name and not Path(overlay).is_file():
            raise self._refuse(f"{WITH}: {overlay} is not there")
        return overlay


def absolute_overlay(name: str, folder: Path) -> str:
    """Return an overlay's name as it is, and the path of a compose file as absolute, seen from ``folder``."""
    return str((folder / Path(name).expanduser()).resolve()) if name.endswith((".yml", ".yaml")) else name


def _tools(file: Path) -> dict[str, Any]:
    """Return what a ``pyproject.toml`` configures, by tool."""
    try:
        return dict(tomllib.loads(file.read_text()).get("tool", {})) if file.exists() else {}
    except tomllib.TOMLDecodeError as error:
        raise StackError(f"{file} is not TOML: {error}", next_step="Correct the file.") from error
