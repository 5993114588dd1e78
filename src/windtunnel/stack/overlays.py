"""Overlays: production shapes, each a compose file that is laid over the stack's own.

``--with`` takes the name of an ``overlays/NAME.yml``, or the path of a file of the user's own.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from windtunnel.stack.errors import Finding, Unmet, did_you_mean
from windtunnel.stack.repository import WITH_SETTING, absolute_overlay
from windtunnel.stack.settings import PORTS, Settings

SCALE_SETTING = "WINDTUNNEL_SCALE"

# ``x-windtunnel: {provides: executor, needs: ecs-agent, engine: compose}`` in an overlay: two that provide
# the same thing exclude each other, what one needs comes with it, and no other engine runs it.
EXTENSION = "x-windtunnel"


def selected(settings: Settings, names: Iterable[str], scale: Mapping[str, int], base: Path) -> Settings:
    """Return the settings with these overlays and replicas.

    :param names: names of ``overlays/``, or paths of the user's own files, relative to ``base``.
    :param scale: the number of replicas, by service.
    :raises Unmet: if an overlay is not known, with the nearest name, or if two exclude each other.
    """
    all_names = _with_what_they_need(names, settings.root, base)
    found = {name: _file(name, settings.root, base) for name in all_names}
    by: dict[str, str] = {}
    for name, path in found.items():
        for provided in _listed(path, "provides"):
            other = by.setdefault(provided, name)
            if found[other] != path:
                problem = f"the overlays {other} and {name} exclude each other: each provides the {provided}"
                raise Unmet(Finding(problem, "Leave one of them out."))
    files = [*found.values(), *_between(found.values(), settings.root)]
    return replace(settings, overlays=tuple(dict.fromkeys(files)), scale=dict(scale))


def _between(files: Collection[Path], root: Path) -> Iterator[Path]:
    """Yield what one overlay adds to another: ``overlays/bundle/celery.yml`` comes with both of them."""
    own = [path for path in files if path.parent == root / "overlays"]
    for one in own:
        for other in own:
            if (path := one.with_suffix("") / other.name).is_file():
                yield path


def requested(settings: Settings) -> Settings:
    """Return the settings with what ``WINDTUNNEL_WITH=celery,emr`` and ``WINDTUNNEL_SCALE=worker=3`` say.

    :raises Unmet: as :func:`selected` and :func:`parsed_scale` do.
    """
    names, scale = (
        [part.strip() for part in settings.get(name).split(",") if part.strip()]
        for name in (WITH_SETTING, SCALE_SETTING)
    )
    return selected(settings, names, parsed_scale(scale, SCALE_SETTING), settings.root)


def remembered(settings: Settings) -> Settings | None:
    """Return the settings with what the stack was started with; None if it has been stopped since."""
    if not _note(settings).exists():
        return None
    note = json.loads(_note(settings).read_text())
    return replace(settings, overlays=tuple(map(Path, note["overlays"])), scale=note["scale"])


def remember(settings: Settings) -> None:
    """Note what a stack is started with, for the commands that follow it."""
    forget(settings)
    if settings.overlays or settings.scale:
        note = {"overlays": list(map(str, settings.overlays)), "scale": settings.scale}
        _note(settings).parent.mkdir(parents=True, exist_ok=True)
        _note(settings).write_text(json.dumps(note))


def forget(settings: Settings) -> None:
    """Remove the note of a stack that is stopped."""
    _note(settings).unlink(missing_ok=True)


def _note(settings: Settings) -> Path:
    return settings.state_folder / "overlays" / f"{settings.project}.json"


def known(root: Path) -> dict[str, Path]:
    """Return the overlays that come with Windtunnel, by name."""
    return {path.stem: path for path in sorted((root / "overlays").glob("*.yml"))}


def described(settings: Settings) -> str:
    """Return overlays and replicas as a person reads them: ``celery, ./mine.yml, worker=3``."""
    names = {path: name for name, path in known(settings.root).items()}
    between = set(_between(settings.overlays, settings.root))
    parts = [names.get(path, str(path)) for path in settings.overlays if path not in between]
    return ", ".join([*parts, *(f"{service}={number}" for service, number in settings.scale.items())])


def _file(name: str, root: Path, base: Path) -> Path:
    there = known(root)
    if name in there:
        return there[name]
    path = Path(absolute_overlay(name, base))
    if not path.is_absolute():
        remedy = f"{did_you_mean(name, there)}; or name a compose file of your own: ./mine.yml"
        raise Unmet(Finding(f"there is no overlay {name}", remedy))
    if not path.is_file():
        raise Unmet(Finding(f"the overlay {path} is not there", "Correct the path."))
    return path


def engine_findings(settings: Settings, engine: str) -> Iterator[Finding]:
    """Yield the overlays that are for another engine alone."""
    names = {path: name for name, path in known(settings.root).items()}
    for path in settings.overlays:
        engines = _listed(path, "engine")
        if engines and engine not in engines:
            name = names.get(path, str(path))
            problem = f"the overlay {name} is for the engine {engines[0]} alone"
            yield Finding(problem, f"Use --engine {engines[0]}, or leave it out.")


def _with_what_they_need(names: Iterable[str], root: Path, base: Path) -> Iterator[str]:
    """Yield names of overlays, each after those that it needs."""
    for name in names:
        yield from _listed(_file(name, root, base), "needs")
        yield name


def _listed(path: Path, what: str) -> list[str]:
    """Return what an overlay says that it provides, or needs."""
    try:
        content = yaml.safe_load(path.read_text()) or {}
        listed = content.get(EXTENSION, {}).get(what, [])
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise Unmet(Finding(f"the overlay {path} cannot be read: {error}", "Correct the file.")) from error
    return [listed] if isinstance(listed, str) else list(listed)


def parsed_scale(options: Iterable[str], origin: str = "--scale") -> dict[str, int]:
    """Read ``SERVICE=N`` options.

    :param origin: the option or setting that the refusal names.
    :raises Unmet: if one is of another form, or N is not a number from 0 on.
    """
    scale = {}
    for option in options:
        service, _, number = option.partition("=")
        if not (service and number.isascii() and number.isdigit()):
            raise Unmet(Finding(f"{origin} is {option!r}", "Write SERVICE=N, with N from 0 on: worker=3"))
        scale[service] = int(number)
    return scale


def scale_findings(scale: Mapping[str, int], configuration: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what keeps services from having that many replicas.

    :param configuration: the compose file with all overlays.
    """
    services = configuration["services"]
    for name, number in scale.items():
        if name not in services:
            yield Finding(f"there is no service {name} to scale", did_you_mean(name, services))
        elif number > 1 and (name in PORTS or services[name].get("ports")):
            yield Finding(f"only one {name} can run: it has a port of its own", "Scale another service.")
        elif number > 1 and services[name].get("restart", "no") == "no":
            yield Finding(f"only one {name} can run: it does its work and ends", "Scale another service.")


def replicas(name: str, configuration: Mapping[str, Any], scale: Mapping[str, int]) -> int:
    """Return how many replicas of a service there are to be: as scaled, else as the compose file says."""
    service = configuration["services"][name]
    said = (scale.get(name), service.get("scale"), service.get("deploy", {}).get("replicas"))
    return int(next((number for number in said if number is not None), 1))
