"""Which engine runs the stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel import preflight
from windtunnel.compose import Compose
from windtunnel.engine import ROOT, Engine, EngineError
from windtunnel.local import Local

ENGINES: dict[str, type[Compose] | type[Local]] = {"compose": Compose, "local": Local}

SETTING = "WINDTUNNEL_ENGINE"


@dataclass(frozen=True)
class Choice:
    """An engine, and why it is that one."""

    engine: Engine
    reason: str


def choose(
    name: str | None = None,
    *,
    project: str | None = None,
    environment: Mapping[str, str] | None = None,
    files: tuple[Path, ...] = (),
    root: Path = ROOT,
    state: Path | None = None,
) -> Choice:
    """The named engine; else the one that is set; else that of the running stack; else what this machine has.

    :param name: ``compose`` or ``local``; None to find out.
    :param project: as for any engine, as the others are, too.
    :raises windtunnel.engine.EngineError: for a name that is none.
    """

    of: dict[str, Any] = {"files": files, "root": root, "state": state}
    local = Local(project, environment, **of)
    named = name or local.setting(SETTING)
    if named:
        if named not in ENGINES:
            origin = "--engine" if name else SETTING
            raise EngineError(f"{origin} is {named!r}", next_step=f"There are: {', '.join(ENGINES)}.")
        engine = ENGINES[named](project, environment, **of)
        return Choice(engine, "--engine says so" if name else f"{SETTING} says so")
    if local.is_there():
        return Choice(local, "this checkout's stack runs so")
    compose = Compose(project, environment, **of)
    if preflight.engine_version(compose) is not None:
        return Choice(compose, "a Docker engine answers")
    return Choice(local, "no Docker engine answers")
