from pathlib import Path

import pytest

from windtunnel.stack import overlays
from windtunnel.stack.errors import Unmet
from windtunnel.stack.settings import Settings

from ..conftest import problems, updated


@pytest.fixture
def settings(checkout: Path) -> Settings:
    """The settings of a checkout with three overlays, two of which provide an executor."""
    (checkout / "overlays").mkdir()
    for name, provides in (("celery", "executor"), ("ecs", "[executor]"), ("emr", "[]")):
        text = f"x-windtunnel: {{provides: {provides}}}\nservices: {{}}\n"
        (checkout / "overlays" / f"{name}.yml").write_text(text)
    return Settings.of("tunnel", root=checkout)


def select(settings: Settings, *names: str) -> Settings:
    return overlays.selected(settings, names, {}, settings.root)


def test_an_overlay_is_named_by_its_name_or_by_a_path(settings: Settings, checkout: Path) -> None:
    mine = checkout / "mine.yml"
    mine.write_text("services: {}\n")

    found = select(settings, "emr", "./mine.yml", "emr")

    assert found.overlays == (checkout / "overlays/emr.yml", mine)
    assert overlays.described(found) == f"emr, {mine}"


@pytest.mark.parametrize(
    ("names", "problem", "remedy"),
    [
        (["celry"], "there is no overlay celry", "Did you mean celery? There are: celery, ecs, emr"),
        (["./gone.yml"], "gone.yml is not there", "Correct the path"),
        pytest.param(
            ["celery", "emr", "ecs"],
            "celery and ecs exclude each other: each provides the executor",
            "Leave",
            marks=pytest.mark.bad_input(81),
        ),
    ],
)
def test_what_cannot_be_is_refused(settings: Settings, names: list[str], problem: str, remedy: str) -> None:
    with pytest.raises(Unmet, match=problem) as caught:
        select(settings, *names)

    assert remedy in caught.value.findings[0].remedy


def test_what_one_overlay_adds_to_another_comes_with_both(settings: Settings, checkout: Path) -> None:
    between = checkout / "overlays" / "emr" / "celery.yml"
    between.parent.mkdir()
    between.write_text("services: {}\n")
    both = (checkout / "overlays/celery.yml", checkout / "overlays/emr.yml")

    for names in (["celery", "emr"], ["emr", "celery"]):
        found = select(settings, *names)
        assert (set(found.overlays[:2]), found.overlays[2]) == (set(both), between)
        assert overlays.described(found) == ", ".join(names)
    assert select(settings, "emr").overlays == (both[1],)
    # Of the user's own files nothing is guessed.
    (checkout / "mine.yml").write_text("services: {}\n")
    (checkout / "mine").mkdir()
    (checkout / "mine" / "celery.yml").touch()
    assert len(select(settings, "./mine.yml", "celery").overlays) == 2


def test_what_an_overlay_needs_comes_with_it_and_before_it(settings: Settings, checkout: Path) -> None:
    (checkout / "overlays" / "agent.yml").write_text("services: {}\n")
    (checkout / "overlays" / "batch.yml").write_text("x-windtunnel: {needs: agent}\nservices: {}\n")

    for names in (["batch"], ["batch", "agent"], ["agent", "batch"]):
        found = select(settings, *names)
        assert found.overlays == (checkout / "overlays/agent.yml", checkout / "overlays/batch.yml")


def test_an_overlay_may_be_for_one_engine_alone(settings: Settings, checkout: Path) -> None:
    (checkout / "overlays" / "docker.yml").write_text("x-windtunnel: {engine: compose}\nservices: {}\n")
    found = select(settings, "emr", "docker")

    assert list(overlays.engine_findings(found, "compose")) == []
    (finding,) = overlays.engine_findings(found, "local")
    assert finding.problem.startswith("the overlay docker is for the engine compose alone")
    assert "--engine compose" in finding.remedy


def test_an_overlay_that_is_no_yaml_is_named(settings: Settings, checkout: Path) -> None:
    for text in ("services: [", "- a list\n"):
        (checkout / "mine.yml").write_text(text)
        with pytest.raises(Unmet, match=r"mine\.yml cannot be read"):
            select(settings, "mine.yml")


def test_settings_name_overlays_and_replicas(settings: Settings, checkout: Path) -> None:
    asked = updated(settings, WINDTUNNEL_WITH="celery, emr", WINDTUNNEL_SCALE="worker=3,triggerer=2")

    found = overlays.requested(asked)

    assert [path.stem for path in found.overlays] == ["celery", "emr"]
    assert found.scale == {"worker": 3, "triggerer": 2}
    assert overlays.described(found) == "celery, emr, worker=3, triggerer=2"
    assert overlays.requested(settings).overlays == ()


@pytest.mark.bad_input(80)
@pytest.mark.parametrize("option", ["worker", "worker=", "=3", "worker=-1", "worker=x", "worker=٣"])
def test_what_is_no_number_of_replicas_is_refused(option: str) -> None:
    with pytest.raises(Unmet, match="--scale is"):
        overlays.parsed_scale([option])


@pytest.mark.bad_input(80)
def test_only_a_service_that_may_have_replicas_is_scaled() -> None:
    services = {
        "init": {"restart": "no"},
        "webserver": {"restart": "always"},
        "mine": {"restart": "always", "ports": ["127.0.0.1:9000:9000"]},
        "worker": {"restart": "unless-stopped"},
    }
    scale = {"init": 2, "webserver": 2, "mine": 2, "worker": 2, "wroker": 2}

    found = list(overlays.scale_findings(scale, {"services": services}))

    assert problems(found) == [
        "only one init can run: it does its work and ends",
        "only one webserver can run: it has a port of its own",
        "only one mine can run: it has a port of its own",
        "there is no service wroker to scale",
    ]
    assert "Did you mean worker?" in found[-1].remedy
    one_each = dict.fromkeys(services, 1)
    assert problems(overlays.scale_findings(one_each, {"services": services})) == []


def test_the_number_of_replicas_is_that_of_the_option_or_of_the_compose_file() -> None:
    services = {"a": {}, "b": {"scale": 2}, "c": {"deploy": {"replicas": 3}}, "d": {"scale": 0}}
    configuration = {"services": services}

    assert [overlays.replicas(name, configuration, {}) for name in services] == [1, 2, 3, 0]
    assert [overlays.replicas(name, configuration, {"b": 5, "a": 0}) for name in services] == [0, 5, 3, 0]


def test_what_a_stack_was_started_with_is_remembered_until_it_is_stopped(settings: Settings) -> None:
    started = overlays.selected(settings, ["emr"], {"worker": 2}, settings.root)

    overlays.remember(started)
    assert overlays.remembered(settings) == started

    overlays.forget(settings)
    assert overlays.remembered(settings) is None

    overlays.remember(started)
    overlays.remember(settings)
    assert overlays.remembered(settings) is None
