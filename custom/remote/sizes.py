"""Sizes of a task on Fargate: by name, and the smallest that holds what a service asks for."""

from collections.abc import Mapping

from custom.remote.errors import RemoteError

_GIB = 1024
# Units of 1/1024 of a processor, and the memory in MiB that Fargate has for it.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size
MEMORY: Mapping[int, tuple[int, ...]] = {
    256: (512, 1 * _GIB, 2 * _GIB),
    512: tuple(range(1 * _GIB, 4 * _GIB + 1, _GIB)),
    1024: tuple(range(2 * _GIB, 8 * _GIB + 1, _GIB)),
    2048: tuple(range(4 * _GIB, 16 * _GIB + 1, _GIB)),
    4096: tuple(range(8 * _GIB, 30 * _GIB + 1, _GIB)),
    8192: tuple(range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB)),
    16384: tuple(range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB)),
}
# Each name has the least memory of its processors, unless the task names another.
NAMES = {
    "small": 256,
    "medium": 512,
    "large": 1024,
    "xlarge": 2048,
    "2xlarge": 4096,
    "4xlarge": 8192,
    "8xlarge": 16384,
}


def named(size: str, memory: int | None = None) -> tuple[int, int]:
    """Return cpu units and MiB of a named size.

    :param memory: MiB; the least that there is if None.
    :raises RemoteError: for an unknown name, and for memory that Fargate does not have for it.
    """
    if size not in NAMES:
        raise RemoteError(f"There is no size {size!r:.50}: take one of {', '.join(NAMES)}")
    lawful = MEMORY[NAMES[size]]
    if memory is None:
        return NAMES[size], lawful[0]
    if memory not in lawful:
        raise RemoteError(
            f"Fargate has no {memory} MiB for size {size} ({NAMES[size]} cpu units): take one of "
            f"{', '.join(map(str, lawful))}"
        )
    return NAMES[size], memory


def smallest(cpu: float, memory: float) -> tuple[int, int]:
    """Return cpu units and MiB of the smallest size that has at least so much of both.

    :param cpu: units.
    :param memory: MiB.
    :raises RemoteError: if Fargate has nothing as large.
    """
    for units, lawful in MEMORY.items():
        enough = [mib for mib in lawful if mib >= memory]
        if units >= cpu and enough:
            return units, enough[0]
    raise RemoteError(
        f"Fargate has no task with {cpu:g} cpu units and {memory:g} MiB: it has at most {max(MEMORY)} and "
        f"{MEMORY[max(MEMORY)][-1]}. Ask for less, or name a size"
    )
