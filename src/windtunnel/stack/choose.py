"""Which engine runs the stack, and with which overlays."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from windtunnel.compose import docker
from windtunnel.compose.stack import ComposeStack
from windtunnel.local.stack import ProcessStack
from windtunnel.stack import overlays
from windtunnel.stack.base import Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError
from windtunnel.stack.settings import ENGINE_SETTING, ROOT, Settings

ENGINES: dict[str, type[Stack]] = {kind.engine: kind for kind in (ComposeStack, ProcessStack)}


@dataclass(frozen=True)
class Choice:
    """A stack, and why it runs on that engine."""

    stack: Stack
    reason: str


def choose(
    engine: str | None = None,
    *,
    project: str | None = None,
    variables: Mapping[str, str] | None = None,
    with_: Iterable[str] = (),
    scale: Mapping[str, int] | None = None,
    starting: bool = False,
    root: Path = ROOT,
    state_folder: Path | None = None,
) -> Choice:
    """Return the stack: on the named engine, else on the one that is set, runs already, or is there.

    If no overlay is named, a start takes the overlays that are set, else the ones of the running stack;
    everything else takes the ones of the running stack, else the ones that are set.

    :param engine: ``compose`` or ``local``; None to find out.
    :param with_: overlays, by name or by path from the current folder.
    :param scale: the number of replicas, by service.
    :param starting: whether the stack is to be started.
    :raises StackError: if there is no engine of that name.
    :raises Unmet: if an overlay is not known, or two exclude each other.

    The other parameters are those of :meth:`Settings.of`.
    """
    settings = Settings.of(project, variables, root, state_folder)
    requested = overlays.requested(settings)
    choice = _choose(engine, requested)
    wanted = requested
    running = overlays.remembered(settings)
    if running and not (starting and (requested.overlays or requested.scale)) and choice.stack.is_there():
        wanted = running
    if names := list(with_):
        wanted = overlays.selected(settings, names, requested.scale, Path.cwd())
    if scale:
        wanted = replace(wanted, scale={**wanted.scale, **scale})
    return choice if wanted is requested else replace(choice, stack=type(choice.stack)(wanted))


def _choose(engine: str | None, settings: Settings) -> Choice:
    if named := engine or settings.get(ENGINE_SETTING):
        origin = "--engine" if engine else ENGINE_SETTING
        if named not in ENGINES:
            raise StackError(f"{origin} is {named!r}", next_step=f"There are: {', '.join(ENGINES)}.")
        return Choice(ENGINES[named](settings), f"{origin} says so")
    local = ProcessStack(settings)
    if local.is_there():
        return Choice(local, "this checkout's stack runs so")
    compose = ComposeStack(settings)
    if docker.version(compose) is not None:
        return Choice(compose, "a Docker Engine answers")
    return Choice(local, "no Docker Engine answers")


def on_other_engines(stack: Stack) -> Iterator[Finding]:
    """Yield a finding if the same stack runs on another engine: the two would not know of each other."""
    for kind in ENGINES.values():
        other = kind(stack.settings)
        if other.engine != stack.engine and other.is_there():
            remedy = f"{COMMAND} down --engine {other.engine}, or choose another project"
            yield Finding(
                f"the stack {stack.settings.project} runs on the engine {other.engine} already",
                f"{remedy}: export COMPOSE_PROJECT_NAME=…",
            )
