"""An operator that runs a container on ECS, described as a service of a compose file."""

import inspect
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from airflow.providers.amazon.aws.operators.ecs import EcsRunTaskOperator
from airflow.triggers.base import BaseTrigger

from custom.remote import compose, definitions, sizes
from custom.remote.container import container, passed_over, size, variables, words
from custom.triggers.remote import ContainerTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

# The lines of a container are in CloudWatch within a second.
POLL_SECONDS = 1
STREAM_PREFIX = "airflow"
# ECS takes no other letters in names, and 255 at most.
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
LONGEST_NAME = 255


class RemoteOperator(EcsRunTaskOperator):
    """Run a container as a task of ECS, from a definition that this operator keeps up to date.

    The definition is registered when it differs from the family's latest active revision in what matters.
    What is the same in every run belongs to it. A variable or a command with a template goes along with each
    run, as an override, and so do those that a mapped task has as arguments: they make no revision.

    The container's lines come into the task log. The last line becomes the XCom ``return_value``.

    :param service: a service in the words of a compose file: ``image``, ``command``, ``entrypoint``,
        ``environment``, ``cpus``, ``mem_limit``, ``deploy.resources.limits``, ``working_dir``, ``user``,
        ``healthcheck``, ``stop_grace_period``. The log names what else it has, and nothing comes of that.
        (templated)
    :param image: instead of the service's. (templated)
    :param command: instead of the service's: a text or a list. (templated)
    :param environment: over the service's: a mapping, or a list of ``NAME=value``. (templated)
    :param secrets: variables whose values ECS reads when it starts the container: each with the name of a
        parameter of Parameter Store, or the ARN of a parameter or a secret. They take the place of variables
        of that name. (templated)
    :param size: ``small`` to ``8xlarge``, see ``custom.remote.sizes``; if None, the smallest size of Fargate
        that holds the service's limits. (templated)
    :param memory: MiB, one of those that Fargate has for the size; None for the least. (templated)
    :param family: of the definition; None for ``<dag>-<task>``. Tasks with different definitions must not
        share one. (templated)
    :param container_name: its name in the definition, and in the log stream.
    :param execution_role_arn: with which ECS pulls the image, reads secrets and writes logs. (templated)
    :param task_role_arn: the container's own. (templated)
    :param task_definition_kwargs: further arguments of ``RegisterTaskDefinition``. (templated)
    :param awslogs_group: log group of the container's lines, which is created if it is not there; None for
        ``/ecs/<family>``. (templated)
    :param overrides: further ones, over what this operator sends. (templated)
    :raises custom.remote.errors.RemoteError: if the service is none that ECS can run.

    All else is the provider's, ``cluster`` and ``network_configuration`` above all:
    https://airflow.apache.org/docs/apache-airflow-providers-amazon/stable/operators/ecs.html
    """

    template_fields: Sequence[str] = (
        *EcsRunTaskOperator.template_fields,
        "service", "image", "command", "environment", "secrets", "size", "memory", "family",
        "execution_role_arn", "task_role_arn", "task_definition_kwargs",
    )  # fmt: skip
    template_fields_renderers = {  # noqa: RUF012 - the base class has it like this
        **EcsRunTaskOperator.template_fields_renderers,
        **dict.fromkeys(("service", "environment", "secrets", "task_definition_kwargs"), "json"),
    }

    def __init__(
        self,
        *,
        service: Mapping[str, Any],
        image: str | None = None,
        command: str | Sequence[str] | None = None,
        environment: Mapping[str, Any] | Sequence[str] | None = None,
        secrets: Mapping[str, str] | None = None,
        size: str | None = None,
        memory: int | str | None = None,
        family: str | None = None,
        execution_role_arn: str | None = None,
        task_role_arn: str | None = None,
        task_definition_kwargs: Mapping[str, Any] | None = None,
        cluster: str = "default",
        launch_type: str = "FARGATE",
        container_name: str = "main",
        overrides: Any = None,
        awslogs_stream_prefix: str = STREAM_PREFIX,
        awslogs_fetch_interval: timedelta = timedelta(seconds=POLL_SECONDS),
        waiter_delay: int = POLL_SECONDS,
        **kwargs: Any,
    ) -> None:
        """Take the arguments, of which the class tells."""
        super().__init__(
            # Known when the task runs.
            task_definition="",
            cluster=cluster,
            launch_type=launch_type,
            container_name=container_name,
            overrides=overrides,
            awslogs_stream_prefix=awslogs_stream_prefix,
            awslogs_fetch_interval=awslogs_fetch_interval,
            waiter_delay=waiter_delay,
            **kwargs,
        )
        self.service = service
        self.image = image
        self.command = command
        self.environment = environment
        self.secrets = secrets
        self.size = size
        self.memory = memory
        self.family = family
        self.execution_role_arn = execution_role_arn
        self.task_role_arn = task_role_arn
        self.task_definition_kwargs = task_definition_kwargs
        # Once templates are rendered, nothing tells what they have made.
        self._late_of_service = _late_names(service.get("environment"))
        # All of it may be what another task returns.
        self._is_own_late = _is_late(environment) and not isinstance(environment, Mapping | Sequence)
        self._late_of_own = set() if self._is_own_late else _late_names(environment)
        self._is_services_command_late = _is_late(service.get("command"))
        self._is_own_command_late = _is_late(command)

    @classmethod
    def from_compose_service(
        cls, service: str, *, compose_file: str | Path | None = None, **arguments: Any
    ) -> Self:
        """Return the operator for a service of a compose file, which is read when the DAG file is.

        :param service: its name; the container has it, too, and the task unless ``task_id`` is given.
        :param compose_file: its path, which counts from the folder of the file that calls this; None for the
            file in there that Compose would take.
        :param arguments: of `RemoteOperator`.
        :raises custom.remote.errors.RemoteError: if there is no such file or service.
        """
        frame = inspect.currentframe()
        caller = frame and frame.f_back
        folder = Path(caller.f_code.co_filename if caller else "").resolve().parent
        found = compose.read(compose.find(folder, compose_file), service)
        name = _NOT_IN_NAMES.sub("-", service)
        return cls(**{"task_id": service, "container_name": name, "service": found, **arguments})

    def execute(self, context: "Context") -> Any:
        """Bring the definition up to date, run it, and wait for its end.

        :raises custom.remote.errors.RemoteError: if the service is none that ECS can run.
        """
        self._name_things(context)
        if ignored := passed_over(self.service):
            self.log.warning("Nothing comes of these keys of the service: %s", ", ".join(ignored))
        # A mapped task has arguments that differ from one to the next.
        is_mapped = context["ti"].map_index is not None and context["ti"].map_index >= 0
        definition, override = self._parts(is_mapped)
        self.task_definition = definitions.matching(self.client, definition, self.log)
        self.overrides = _merged(override, self.overrides or {})
        return super().execute(context)  # type: ignore[no-untyped-call]

    def defer(self, *, trigger: BaseTrigger, **how: Any) -> NoReturn:
        """Wait in the triggerer, by our own trigger in place of the provider's."""
        super().defer(trigger=ContainerTrigger(**trigger.serialize()[1]), **how)

    def execute_complete(self, context: "Context", event: dict[str, Any] | None = None) -> str | None:
        """Go on when the container has ended; called by Airflow if the task has deferred."""
        self._name_things(context)
        return super().execute_complete(context, event)

    def _name_things(self, context: "Context") -> None:
        """Settle the names that depend on where the task is."""
        ti = context["ti"]
        self.family = self.family or _NOT_IN_NAMES.sub("_", f"{ti.dag_id}-{ti.task_id}")[:LONGEST_NAME]
        self.awslogs_group = self.awslogs_group or f"/ecs/{self.family}"
        self.awslogs_region = self.awslogs_region or self.client.meta.region_name

    def _parts(self, is_mapped: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the definition, and what goes along with this run."""
        secrets = dict(self.secrets or {})
        own = compose.environment_of(self.environment)
        late = self._late_of_service | self._late_of_own
        if is_mapped or self._is_own_late:
            late = late | own.keys()
        # ECS refuses a variable and a secret of one name.
        environment = {
            name: value
            for name, value in {**compose.environment_of(self.service.get("environment")), **own}.items()
            if name not in secrets and value is not None
        }
        service = {**self.service, **({"image": self.image} if self.image else {})}
        override: dict[str, Any] = {
            "name": self.container_name,
            "environment": variables({name: value for name, value in environment.items() if name in late}),
        }
        if self._is_services_command_late:
            override["command"] = words(service.pop("command"))
        if self.command is not None:
            place = override if is_mapped or self._is_own_command_late else service
            place["command"] = words(self.command)
        constant = {name: value for name, value in environment.items() if name not in late}
        return self._definition(service, constant, secrets), override

    def _definition(
        self, service: Mapping[str, Any], environment: Mapping[str, Any], secrets: Mapping[str, str]
    ) -> dict[str, Any]:
        memory = int(self.memory) if self.memory else None
        units, mib = sizes.named(self.size, memory) if self.size else size(service)
        found = {
            "family": self.family,
            "cpu": str(units),
            "memory": str(mib),
            "executionRoleArn": self.execution_role_arn,
            "taskRoleArn": self.task_role_arn,
            "requiresCompatibilities": [self.launch_type] if self.launch_type else None,
            "networkMode": "awsvpc" if self.launch_type == "FARGATE" or self.network_configuration else None,
            "containerDefinitions": [
                {
                    **container(str(self.container_name), service),
                    "environment": variables(environment),
                    "secrets": [{"name": name, "valueFrom": secrets[name]} for name in sorted(secrets)],
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {
                            "awslogs-group": self.awslogs_group,
                            "awslogs-region": self.awslogs_region,
                            "awslogs-stream-prefix": self.awslogs_stream_prefix,
                            "awslogs-create-group": "true",
                        },
                    },
                }
            ],
            **(self.task_definition_kwargs or {}),
        }
        return {name: value for name, value in found.items() if value is not None}


def _is_late(value: Any) -> bool:
    """Return whether a value is made when the task runs: by a template, or by another task."""
    if isinstance(value, str):
        return any(mark in value for mark in ("{{", "{%", "{#"))
    if isinstance(value, Mapping):
        return any(map(_is_late, value.values()))
    if isinstance(value, Sequence):
        return any(map(_is_late, value))
    return not isinstance(value, int | float | None)


def _late_names(environment: Any) -> set[str]:
    return {name for name, value in compose.environment_of(environment).items() if _is_late(value)}


def _merged(override: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides of a task: ours for one container, and over them what the user gives."""
    all_given = given.get("containerOverrides", ())
    others = [one for one in all_given if one["name"] != override["name"]]
    own: Mapping[str, Any] = next((one for one in all_given if one not in others), {})
    names = {one["name"] for one in own.get("environment", ())}
    environment = [one for one in override["environment"] if one["name"] not in names]
    merged = {**override, **own, "environment": [*environment, *own.get("environment", ())]}
    if not merged["environment"]:
        del merged["environment"]
    return {**given, "containerOverrides": [*others, *([merged] if len(merged) > 1 else [])]}
