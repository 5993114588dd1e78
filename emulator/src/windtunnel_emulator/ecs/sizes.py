"""Sizes of tasks: which there are on Fargate, and how cpu and memory may be written."""

import re
from collections.abc import Mapping

# Units of 1/1024 of a processor, and the memory in MiB that Fargate has for it: least, most and step.
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#task_size
_GIB = 1024
FARGATE: Mapping[int, range] = {
    512: range(1 * _GIB, 4 * _GIB + 1, _GIB),
    1024: range(2 * _GIB, 8 * _GIB + 1, _GIB),
    2048: range(4 * _GIB, 16 * _GIB + 1, _GIB),
    4096: range(8 * _GIB, 30 * _GIB + 1, _GIB),
    8192: range(16 * _GIB, 60 * _GIB + 1, 4 * _GIB),
    16384: range(32 * _GIB, 120 * _GIB + 1, 8 * _GIB),
}
_SMALLEST = (256, (512, 1024, 2048))


def fits_fargate(cpu: int, memory: int) -> bool:
    """Return whether Fargate has a size of so many units and MiB."""
    if cpu == _SMALLEST[0]:
        return memory in _SMALLEST[1]
    return memory in FARGATE.get(cpu, ())


def cpu_units(text: str) -> int:
    """Return a task's cpu in units: ``256``, ``.25 vCPU``.

    :raises ValueError: if it is neither.
    """
    if match := re.fullmatch(r"(\d*\.?\d+)\s*vcpus?", text.strip(), re.IGNORECASE):
        return round(float(match[1]) * 1024)
    return int(text)


def memory_mib(text: str) -> int:
    """Return a task's memory in MiB: ``512``, ``0.5 GB``.

    :raises ValueError: if it is neither.
    """
    if match := re.fullmatch(r"(\d*\.?\d+)\s*gb", text.strip(), re.IGNORECASE):
        return round(float(match[1]) * 1024)
    return int(text)
