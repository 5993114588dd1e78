"""Sizes of Fargate, by name and by need."""

import pytest

from custom.remote.errors import RemoteError
from custom.remote.sizes import MEMORY, NAMES, named, smallest
from windtunnel_emulator.ecs.sizes import fits_fargate


def test_the_emulator_has_the_same_sizes() -> None:
    asked = [(cpu, mib) for cpu in (*MEMORY, 128, 300, 32768) for mib in range(256, 122_881, 256)]
    assert {one for one in asked if fits_fargate(*one)} == {
        (cpu, mib) for cpu in MEMORY for mib in MEMORY[cpu]
    }


def test_a_name_has_its_least_memory_unless_another_is_named() -> None:
    assert named("small") == (256, 512)
    assert named("small", 2048) == (256, 2048)
    assert {name: named(name) for name in NAMES}["8xlarge"] == (16384, 32768)


def test_memory_that_fargate_does_not_have_is_refused_with_what_it_has() -> None:
    with pytest.raises(RemoteError, match=r"no 4096 MiB for size small \(256 cpu units\).* 512, 1024, 2048$"):
        named("small", 4096)
    with pytest.raises(RemoteError, match=r"no size 'tiny': take one of small, medium"):
        named("tiny")


@pytest.mark.parametrize(
    ("cpu", "memory", "found"),
    [
        (0, 0, (256, 512)),
        (256, 513, (256, 1024)),
        (257, 512, (512, 1024)),
        (256, 2049, (512, 3072)),
        (1024, 1, (1024, 2048)),
        (0, 122_880, (16384, 122_880)),
        (8192, 17_000, (8192, 20_480)),
    ],
)
def test_a_need_gets_the_smallest_that_holds_it(cpu: float, memory: float, found: tuple[int, int]) -> None:
    assert smallest(cpu, memory) == found


def test_a_need_over_the_largest_is_refused() -> None:
    with pytest.raises(RemoteError, match=r"no task with 16385 cpu units and 1 MiB: .* 16384 and 122880"):
        smallest(16385, 1)
