"""Task definitions: what AWS refuses to register, which revision a name means, what its containers are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windtunnel_emulator.ecs import sizes
from windtunnel_emulator.ecs.errors import client_exception, invalid_parameter

# Of a container's stop, in seconds (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ContainerDefinition.html).
STOP_TIMEOUT = 30
LONGEST_FARGATE_STOP = 120

# ECS takes so many characters of JSON at most.
LONGEST_OVERRIDES = 8192

# Of health checks, in seconds and times (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_HealthCheck.html).
HEALTH_BOUNDS = {"interval": (5, 300), "timeout": (2, 60), "retries": (1, 10), "startPeriod": (0, 300)}


def check(request: Mapping[str, Any]) -> None:
    """Refuse a definition as ECS does.

    :raises CommonServiceException: ``ClientException``.
    """
    containers = request["containerDefinitions"]
    names = [container.get("name") for container in containers]
    if not containers:
        raise client_exception("Container list cannot be empty.")
    if doubled := next((name for name in names if name and names.count(name) > 1), None):
        raise client_exception(
            f"Container name {doubled} is used more than once. Container names must be unique."
        )
    if not any(container.get("essential", True) for container in containers):
        raise client_exception("At least one container must be marked as essential.")
    _check_dependencies(containers)
    for container in containers:
        _check_container(container, request)
    if "FARGATE" in request.get("requiresCompatibilities", ()):
        _check_fargate(request)


def _check_dependencies(containers: Sequence[Mapping[str, Any]]) -> None:
    by_name = {container.get("name"): container for container in containers}
    after: dict[Any, list[str]] = {name: [] for name in by_name}
    for name, container in by_name.items():
        for one in container.get("dependsOn", []):
            _check_dependency(name, one["condition"], one["containerName"], by_name.get(one["containerName"]))
            after[name].append(one["containerName"])
    settled: set[Any] = set()
    while ready := {
        name for name, others in after.items() if name not in settled and settled.issuperset(others)
    }:
        settled |= ready
    if settled != after.keys():
        raise client_exception("Cyclic dependency detected in the container dependencies.")


def _check_dependency(name: Any, condition: str, other: str, found: Mapping[str, Any] | None) -> None:
    if found is None:
        raise client_exception(
            f"Container '{name}' has a dependency on container '{other}', which does not exist."
        )
    if condition in ("COMPLETE", "SUCCESS") and found.get("essential", True):
        raise client_exception(
            f"Container '{name}' waits for {condition} of container '{other}', which must not be essential."
        )
    if condition == "HEALTHY" and not found.get("healthCheck"):
        raise client_exception(
            f"Container '{name}' waits for container '{other}' to be HEALTHY; it has no healthCheck."
        )


def _check_container(container: Mapping[str, Any], request: Mapping[str, Any]) -> None:
    name = container.get("name")
    check = container.get("healthCheck")
    if check and check["command"][:1] not in (["CMD"], ["CMD-SHELL"], ["NONE"]):
        raise client_exception(
            f"Container '{name}': healthCheck.command must begin with CMD, CMD-SHELL or NONE."
        )
    if check and (outside := _outside(check)):
        raise client_exception(f"Container '{name}': {outside}.")
    if container.get("secrets") and not request.get("executionRoleArn"):
        raise client_exception(
            "When you are specifying container secrets, you must also specify a value for 'executionRoleArn'."
        )
    logs = container.get("logConfiguration", {})
    if logs.get("logDriver") == "awslogs":
        lacking = [one for one in ("awslogs-group", "awslogs-region") if one not in logs.get("options", {})]
        if lacking:
            raise client_exception(f"Log driver awslogs requires options: {', '.join(lacking)}")
    for what, read in (("cpu", sizes.cpu_units), ("memory", sizes.memory_mib)):
        whole = _number(read, request.get(what), what)
        if whole and (container.get(what) or 0) > whole:
            raise client_exception(f"'{what}' setting for container '{name}' is greater than for task.")


def _outside(check: Mapping[str, Any]) -> str:
    """Return which number of a health check is not within its bounds."""
    for name, (least, most) in HEALTH_BOUNDS.items():
        if name in check and not least <= check[name] <= most:
            return f"healthCheck.{name} must be between {least} and {most}"
    return ""


def _number(read: Callable[[str], int], text: str | None, what: str) -> int | None:
    try:
        return read(text) if text else None
    except ValueError:
        raise client_exception(f"Invalid '{what}' setting for task.") from None


def _check_fargate(request: Mapping[str, Any]) -> None:
    if (mode := request.get("networkMode", "awsvpc")) != "awsvpc":
        raise client_exception(f"Fargate only supports network mode 'awsvpc', not '{mode}'.")
    check_fargate_size(request.get("cpu"), request.get("memory"))
    for container in request["containerDefinitions"]:
        driver = container.get("logConfiguration", {}).get("logDriver")
        if driver == "awslogs" and not request.get("executionRoleArn"):
            raise client_exception(
                "Fargate requires task definition to have execution role ARN to support log driver awslogs."
            )
        if container.get("stopTimeout", 0) > LONGEST_FARGATE_STOP:
            raise client_exception(
                f"The stopTimeout of container '{container.get('name')}' must be at most "
                f"{LONGEST_FARGATE_STOP} seconds on Fargate."
            )


def check_fargate_size(cpu: str | None, memory: str | None) -> None:
    """Refuse a size that Fargate does not have.

    :raises CommonServiceException: ``ClientException``.
    """
    for name, value in (("cpu", cpu), ("memory", memory)):
        if not value:
            raise client_exception(f"Fargate requires that '{name}' be defined at the task level.")
    units, mib = _number(sizes.cpu_units, cpu, "cpu"), _number(sizes.memory_mib, memory, "memory")
    if not units or not mib or not sizes.fits_fargate(units, mib):
        raise client_exception(
            f"No Fargate configuration exists for given values: {units} CPU, {mib} memory."
        )


def find(backend: Any, name: str, missing: str, inactive: str = "") -> Any:
    """Return moto's record of a definition; by a family alone its latest active revision.

    :param name: ``family``, ``family:revision`` or an ARN.
    :param missing: what the refusal says if there is none.
    :param inactive: what it says of a revision that was deregistered; such a one is taken if this is empty.
    :raises CommonServiceException: ``ClientException``.
    """
    family, _, revision = name.rpartition("/")[2].partition(":")
    revisions = backend.task_definitions.get(family, {})
    if not revision:
        active = [number for number, one in revisions.items() if one.status == "ACTIVE"]
        if not active:
            raise client_exception(missing)
        return revisions[max(active)]
    if not revision.isdecimal():
        raise invalid_parameter(f"Invalid revision number. Number: {revision}")
    if int(revision) not in revisions:
        raise client_exception(missing)
    found = revisions[int(revision)]
    if found.status != "ACTIVE" and inactive:
        raise client_exception(inactive)
    return found


def containers(
    definition: Any, overrides: Mapping[str, Any], task_id: str, region: str
) -> list[dict[str, Any]]:
    """Return the containers of a definition for an agent, with a task's overrides.

    :param overrides: as ``RunTask`` takes them.
    """
    own = {one.get("name"): one for one in overrides.get("containerOverrides", [])}
    return [
        _container(one, own.get(one["name"], {}), task_id, region) for one in definition.container_definitions
    ]


def _container(
    definition: Mapping[str, Any], override: Mapping[str, Any], task_id: str, region: str
) -> dict[str, Any]:
    variables = [*definition.get("environment", []), *override.get("environment", [])]
    health = definition.get("healthCheck")
    return {
        "name": definition["name"],
        "image": definition["image"],
        "entry_point": definition.get("entryPoint", []),
        "command": override.get("command", definition.get("command", [])),
        "environment": {one["name"]: one.get("value", "") for one in variables},
        "secrets": definition.get("secrets", []),
        "working_directory": definition.get("workingDirectory"),
        "user": definition.get("user"),
        "cpu": override.get("cpu", definition.get("cpu")) or None,
        "memory": override.get("memory", definition.get("memory")) or None,
        "essential": definition.get("essential", True),
        "depends_on": {one["containerName"]: one["condition"] for one in definition.get("dependsOn", [])},
        "start_timeout": definition.get("startTimeout"),
        "stop_timeout": definition.get("stopTimeout", STOP_TIMEOUT),
        "health_check": health,
        "logs": _logs(definition, task_id, region),
    }


def _logs(definition: Mapping[str, Any], task_id: str, region: str) -> dict[str, Any] | None:
    """Return where the driver ``awslogs`` writes to.

    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/using_awslogs.html
    """
    configuration = definition.get("logConfiguration", {})
    options = configuration.get("options", {})
    if configuration.get("logDriver") != "awslogs" or "awslogs-group" not in options:
        return None
    prefix = options.get("awslogs-stream-prefix")
    return {
        "group": options["awslogs-group"],
        "stream": f"{prefix}/{definition['name']}/{task_id}" if prefix else task_id,
        "region": options.get("awslogs-region", region),
        "create_group": options.get("awslogs-create-group") == "true",
        "multiline_pattern": options.get("awslogs-multiline-pattern"),
    }
