"""A service as a container of ECS."""

from typing import Any

import pytest

from custom.remote.container import container, octets, passed_over, seconds, size, variables
from custom.remote.errors import RemoteError


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ({"command": "python -m 'a b'"}, {"command": ["python", "-m", "a b"]}),
        ({"command": ["sleep", 3, True], "entrypoint": "/run.sh -x"},
         {"command": ["sleep", "3", "true"], "entryPoint": ["/run.sh", "-x"]}),
        ({"command": None, "entrypoint": []}, {}),
        ({"working_dir": "/work", "user": 1000}, {"workingDirectory": "/work", "user": "1000"}),
        ({"stop_grace_period": "1m30s"}, {"stopTimeout": 90}),
        ({"stop_grace_period": "1500ms"}, {"stopTimeout": 2}),
        ({"healthcheck": {"test": "curl -f x", "interval": "1m", "timeout": "1s", "retries": 2,
                          "start_period": "500ms"}},
         {"healthCheck": {"command": ["CMD-SHELL", "curl -f x"], "interval": 60, "timeout": 2, "retries": 2,
                          "startPeriod": 1}}),
        ({"healthcheck": {"test": ["CMD", "true"]}}, {"healthCheck": {"command": ["CMD", "true"]}}),
        ({"healthcheck": {"test": "x", "disable": True}}, {}),
        ({"healthcheck": {"test": ["NONE"]}}, {}),
    ],
)  # fmt: skip
def test_it_has_what_the_service_has(service: dict[str, Any], found: dict[str, Any]) -> None:
    expected = {"name": "report", "image": "i", "essential": True, **found}
    assert container("report", {"image": "i", **service}) == expected


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ({"build": "."}, "no image: ECS builds nothing"),
        (
            {"image": "i", "healthcheck": {"test": "x", "interval": "6m"}},
            "interval 6m: ECS takes at most 300 s",
        ),
        ({"image": "i", "stop_grace_period": "soon"}, "'soon' is no duration"),
    ],
)
def test_what_ecs_cannot_take_is_refused(service: dict[str, Any], message: str) -> None:
    with pytest.raises(RemoteError, match=message):
        container("report", service)


@pytest.mark.parametrize(
    ("service", "found"),
    [
        ({}, (256, 512)),
        ({"cpus": 0.5, "mem_limit": "900m"}, (512, 1024)),
        ({"cpus": "1.5", "mem_limit": 5 << 30}, (2048, 5120)),
        ({"deploy": {"resources": {"limits": {"cpus": "0.25", "memory": "1G"}}}}, (256, 1024)),
        ({"deploy": {"resources": None}}, (256, 512)),
    ],
)
def test_limits_choose_the_size(service: dict[str, Any], found: tuple[int, int]) -> None:
    assert size(service) == found


@pytest.mark.parametrize("service", [{"cpus": "many"}, {"mem_limit": "much"}])
def test_a_limit_that_is_none_is_refused(service: dict[str, Any]) -> None:
    with pytest.raises(RemoteError, match="is no"):
        size(service)


def test_texts_are_read_as_compose_reads_them() -> None:
    assert [octets(one) for one in ("512", "2kb", "1.5m", "1G", 7)] == [
        512,
        2048,
        1.5 * (1 << 20),
        1 << 30,
        7,
    ]
    assert [seconds(one) for one in ("2h1m", "1.5s", "300ms", "2us")] == [7260, 1.5, 0.3, 2e-6]


def test_variables_are_texts_in_the_order_of_their_names() -> None:
    assert variables({"B": True, "A": 1}) == [{"name": "A", "value": "1"}, {"name": "B", "value": "true"}]


def test_keys_of_which_nothing_comes_are_named() -> None:
    assert passed_over({"image": "i", "volumes": [], "ports": [], "x-own": 1}) == ["ports", "volumes"]
