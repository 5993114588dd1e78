"""Which engine runs the stack."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import preflight
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.base import ROOT, Stack, StackError

ENGINES: dict[str, type[ComposeStack] | type[ProcessStack]] = {"compose": ComposeStack, "local": ProcessStack}

SETTING = "WINDTUNNEL_ENGINE"


@dataclass(frozen=True)
class Choice:
    """An engine, and why it is that one."""

    stack: Stack
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
    :raises windtunnel.stack.base.StackError: for a name that is none.
    """

    of: dict[str, Any] = {"files": files, "root": root, "state": state}
    local = ProcessStack(project, environment, **of)
    named = name or local.setting(SETTING)
    if named:
        if named not in ENGINES:
            origin = "--engine" if name else SETTING
            raise StackError(f"{origin} is {named!r}", next_step=f"There are: {', '.join(ENGINES)}.")
        stack = ENGINES[named](project, environment, **of)
        return Choice(stack, "--engine says so" if name else f"{SETTING} says so")
    if local.is_there():
        return Choice(local, "this checkout's stack runs so")
    compose = ComposeStack(project, environment, **of)
    if preflight.engine_version(compose) is not None:
        return Choice(compose, "a Docker engine answers")
    return Choice(local, "no Docker engine answers")
