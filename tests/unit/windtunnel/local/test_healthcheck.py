import os
from typing import Any

import pytest

from windtunnel.local.healthcheck import probe_of
from windtunnel.services import probes

VARIABLES = {"PATH": os.environ["PATH"], "MOOD": "fine"}


def test_a_service_that_windtunnel_knows_has_its_own_probe() -> None:
    assert probe_of("postgres", {"healthcheck": {"test": "exit 1"}}) is probes.PROBES["postgres"]


def test_a_probe_of_windtunnels_own_needs_no_process() -> None:
    test = "python -m windtunnel.services.probes celery-worker"

    assert probe_of("mine", {"healthcheck": {"test": test}}) is probes.PROBES["celery-worker"]


@pytest.mark.parametrize(
    "service",
    [
        {},
        {"healthcheck": {"disable": True, "test": "exit 1"}},
        {"healthcheck": {"test": ["NONE"]}},
        {"healthcheck": {"interval": "1s"}},
    ],
)
def test_a_service_need_not_have_a_health_check(service: dict[str, Any]) -> None:
    assert probe_of("mine", service) is None


@pytest.mark.parametrize(
    "test",
    ['test "$MOOD" = fine', ["CMD-SHELL", 'test "$MOOD" = fine'], ["CMD", "sh", "-c", 'test "$MOOD" = fine']],
)
def test_a_health_check_has_the_variables_of_its_service(test: Any) -> None:
    probe = probe_of("mine", {"healthcheck": {"test": test}})
    assert probe

    probe(VARIABLES, 0)
    with pytest.raises(probes.Unhealthy, match="its health check ended with exit code 1"):
        probe(VARIABLES | {"MOOD": "bad"}, 0)


@pytest.mark.parametrize(
    ("healthcheck", "kind", "said"),
    [
        ({"test": "echo not yet >&2; exit 1"}, probes.Unhealthy, "not yet"),
        ({"test": f"echo broken; exit {probes.DEFINITE}"}, probes.Broken, "broken"),
        ({"test": ["CMD", "no-such-program"]}, probes.Unhealthy, "its health check does not run"),
        ({"test": "sleep 60", "timeout": "100ms"}, probes.Unhealthy, "its health check does not run"),
    ],
)
def test_a_health_check_says_why(healthcheck: dict[str, Any], kind: type[Exception], said: str) -> None:
    probe = probe_of("mine", {"healthcheck": healthcheck})
    assert probe

    with pytest.raises(kind, match=said):
        probe(VARIABLES, 0)
