"""Job definitions: what AWS refuses, which revision a name means, and what a job makes of one."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from windtunnel_emulator.batch.errors import client_exception
from windtunnel_emulator.batch.retries import MOST_ATTEMPTS, MOST_CONDITIONS
from windtunnel_emulator.ecs import sizes

type Request = Mapping[str, Any]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

# In seconds, of one attempt.
SHORTEST_TIMEOUT = 60

# In MiB (https://docs.aws.amazon.com/batch/latest/userguide/job_definition_parameters.html).
LEAST_MEMORY = 4

_PLACEHOLDER = re.compile(r"Ref::([A-Za-z0-9_-]+)")
_PROTECTED = "AWS_BATCH"
_LISTS = ("volumes", "environment", "mountPoints", "ulimits", "resourceRequirements", "secrets")


def check(request: Request) -> None:
    """Refuse a definition as Batch does.

    :raises CommonServiceException: ``ClientException``.
    """
    check_name(request["jobDefinitionName"], "Job definition name")
    check_strategy(request.get("retryStrategy"))
    check_timeout(request.get("timeout"))
    properties = request.get("containerProperties")
    if request["type"] == "container" and not (properties or request.get("eksProperties")):
        raise client_exception("A definition of type container must have containerProperties or eksProperties")
    if properties:
        if not properties.get("image"):
            raise client_exception("Container properties must contain an image")
        check_variables(properties.get("environment", ()))
        platform = platform_of(request.get("platformCapabilities"))
        if platform == "FARGATE" and not properties.get("executionRoleArn"):
            raise client_exception("Container properties must have executionRoleArn for Fargate jobs")
        size(properties, platform)


def check_name(name: str, what: str) -> None:
    """Refuse a name that AWS does not take.

    :param what: of what it is the name, as the message begins.
    :raises CommonServiceException: ``ClientException``.
    """
    if not NAME.fullmatch(name):
        raise client_exception(f"{what} should match valid pattern")


def check_strategy(strategy: Request | None) -> None:
    """Refuse a retry strategy that AWS does not take.

    :raises CommonServiceException: ``ClientException``.
    """
    strategy = strategy or {}
    attempts, conditions = strategy.get("attempts"), strategy.get("evaluateOnExit") or []
    if attempts is not None and not 1 <= attempts <= MOST_ATTEMPTS:
        raise client_exception(f"Retry strategy attempts must be between 1 and {MOST_ATTEMPTS}")
    if conditions and attempts is None:
        raise client_exception("Retry strategy with evaluateOnExit must have attempts")
    if len(conditions) > MOST_CONDITIONS:
        raise client_exception(
            f"Retry strategy evaluateOnExit must have at most {MOST_CONDITIONS} conditions"
        )
    for condition in conditions:
        if str(condition["action"]).upper() not in ("RETRY", "EXIT"):
            raise client_exception("Retry strategy action must be one of RETRY, EXIT")
        if not any(condition.get(name) for name in ("onStatusReason", "onReason", "onExitCode")):
            raise client_exception("Retry strategy evaluateOnExit must have a condition beside its action")


def check_timeout(timeout: Request | None) -> None:
    """Refuse a timeout that is too short.

    :raises CommonServiceException: ``ClientException``.
    """
    seconds = (timeout or {}).get("attemptDurationSeconds")
    if seconds is not None and seconds < SHORTEST_TIMEOUT:
        raise client_exception(f"Timeout attemptDurationSeconds must be at least {SHORTEST_TIMEOUT} seconds")


def check_variables(variables: Iterable[Request]) -> None:
    """Refuse variables with names that are Batch's own.

    :raises CommonServiceException: ``ClientException``.
    """
    for variable in variables:
        if str(variable.get("name")).startswith(_PROTECTED):
            raise client_exception(
                f"Environment variable name {variable.get('name')} must not start with {_PROTECTED}"
            )


def platform_of(capabilities: Iterable[str] | None) -> str:
    """Return on what a definition's jobs run: ``EC2`` or ``FARGATE``."""
    return "FARGATE" if "FARGATE" in (capabilities or ()) else "EC2"


def size(container: Request, platform: str) -> tuple[float, int]:
    """Return the vCPUs and the memory, in MiB, of a container.

    :raises CommonServiceException: ``ClientException``, if it has none or one that cannot be had.
    """
    required = {one["type"]: one["value"] for one in container.get("resourceRequirements", ())}
    if platform == "FARGATE":
        for name in ("vcpus", "memory"):
            if container.get(name):
                raise client_exception(
                    f"{name} is not applicable for Fargate. Use resource requirements instead."
                )
    try:
        vcpus = float(required.get("VCPU") or container.get("vcpus") or 0)
        memory = int(required.get("MEMORY") or container.get("memory") or 0)
    except ValueError:
        raise client_exception("Resource requirement values must be numbers") from None
    if vcpus <= 0:
        raise client_exception("Container properties must contain vcpus greater than 0")
    if memory < LEAST_MEMORY:
        raise client_exception(f"Container properties must contain memory of at least {LEAST_MEMORY} MiB")
    if platform == "FARGATE" and not sizes.fits_fargate(round(vcpus * 1024), memory):
        raise client_exception(f"Fargate resource requirements ({vcpus:.2f} vCPU, {memory} MiB) not valid.")
    if platform == "EC2" and vcpus != int(vcpus):
        raise client_exception("VCPU resource requirement must be a whole number for EC2 jobs")
    return vcpus, memory


def find(backend: Any, name: str) -> Any:
    """Return moto's record of a definition that is active; by a name alone its latest revision.

    :param name: ``name``, ``name:revision`` or an ARN.
    :raises CommonServiceException: ``ClientException``, if there is none.
    """
    found = [one for one in named(backend, name) if one.status == "ACTIVE"]
    if not found:
        raise client_exception(f"JobDefinition name {name} does not exist or is not in ACTIVE status.")
    return max(found, key=lambda one: one.revision)


def named(backend: Any, name: str) -> list[Any]:
    """Return moto's records of all revisions that a name, ``name:revision`` or an ARN means."""
    short, _, revision = name.rpartition("/")[2].partition(":")
    return [
        one
        for one in backend._job_definitions.values()
        if one.name == short and revision in ("", str(one.revision))
    ]


def container(definition: Any, overrides: Request, parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the container of a job, as ``DescribeJobs`` has it.

    :param overrides: as ``SubmitJob`` takes them.
    :param parameters: what stands for ``Ref::name`` in the command.
    """
    own = definition.container_properties
    required = _merged("type", own.get("resourceRequirements", ()), overrides.get("resourceRequirements", ()))
    found = {**{name: [] for name in _LISTS}, **own}
    found["environment"] = _merged("name", own.get("environment", ()), overrides.get("environment", ()))
    found["resourceRequirements"] = required
    found["command"] = [
        _PLACEHOLDER.sub(lambda match: parameters.get(match[1], match[0]), text)
        for text in overrides.get("command") or own.get("command", ())
    ]
    types = {one["type"] for one in own.get("resourceRequirements", ())}
    for name, kind in (("vcpus", "VCPU"), ("memory", "MEMORY")):
        # AWS does not apply the old way of an override to the new way of a definition.
        if overrides.get(name) and kind not in types:
            found[name] = overrides[name]
    return found


def _merged(key: str, own: Iterable[Request], overrides: Iterable[Request]) -> list[Request]:
    return list({one[key]: one for one in (*own, *overrides)}.values())
