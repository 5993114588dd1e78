"""What LocalStack's Lambda service does otherwise than AWS, set right."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from localstack.aws.api.lambda_ import LastUpdateStatus, State
from localstack.services.lambda_.invocation.event_manager import Poller
from localstack.services.lambda_.invocation.execution_environment import ExecutionEnvironment
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, UpdateStatus, VersionState
from localstack.services.lambda_.invocation.lambda_service import LambdaService
from localstack.services.lambda_.invocation.models import lambda_stores
from localstack.utils.patch import patch

from windtunnel_emulator.lambda_.limits import MAX_CONCURRENT_EXECUTIONS
from windtunnel_emulator.once import once


@once
def set_right() -> None:
    """Patch LocalStack's classes."""
    for method, replacement in (
        (LambdaService.stop_version, _stop_version),
        (LambdaService.stop, _stop),
        (LambdaService.update_version, _update_version),
        (LambdaService.update_version_state, _update_version_state),
        (Poller.__init__, _poller),
        (ExecutionEnvironment.get_log_group_name, _log_group_name),
    ):
        patch(method)(replacement)  # type: ignore[no-untyped-call]


def _stop_version(original: Callable[..., None], service: LambdaService, qualified_arn: str) -> None:
    """Let a function in the state Failed be deleted: LocalStack finds nothing to stop and answers 500."""
    with suppress(ValueError):
        original(service, qualified_arn)


def _update_version(
    original: Callable[..., Future[None]], service: LambdaService, new_version: FunctionVersion
) -> Future[None]:
    """Let a Failed function be corrected: LocalStack finds nothing to replace and answers 500."""
    if new_version.qualified_arn not in service.lambda_running_versions:
        return service.create_function_version(new_version)
    return original(service, new_version)


def _update_version_state(
    original: Callable[..., None],
    service: LambdaService,
    function_version: FunctionVersion,
    new_state: VersionState,
) -> None:
    """Leave a function Active if its update fails: LocalStack calls it Failed, though the old one runs."""
    original(service, function_version, new_state)
    own = function_version.id
    function = lambda_stores[own.account][own.region].functions.get(own.function_name)
    if (
        function
        and new_state.state == State.Failed
        and function_version.qualified_arn in service.lambda_running_versions
    ):
        version = function.versions[own.qualifier]
        config = dataclasses.replace(
            version.config,
            state=VersionState(State.Active),
            last_update=UpdateStatus(LastUpdateStatus.Failed, new_state.code, new_state.reason),
        )
        function.versions[own.qualifier] = dataclasses.replace(version, config=config)


def _poller(original: Callable[..., None], poller: Poller, *arguments: Any) -> None:
    """Run a function's asynchronous events beside one another, as on AWS.

    LocalStack's own pool has as many threads as the machine has CPUs, and four.
    """
    original(poller, *arguments)
    poller.invoker_pool = ThreadPoolExecutor(MAX_CONCURRENT_EXECUTIONS, thread_name_prefix="lambda-invoker")


def _stop(original: Callable[..., None], service: LambdaService) -> None:
    """Stop every environment when LocalStack stops.

    LocalStack forgets those of functions deleted a moment before, and their timers keep it from exiting.
    """
    original(service)
    for version_manager_id in list(service.assignment_service.environments):
        service.assignment_service.stop_environments_for_version(version_manager_id)


def _log_group_name(original: Callable[..., str], environment: ExecutionEnvironment) -> str:
    """Return the log group that the function's LoggingConfig names; LocalStack has only the default."""
    return environment.function_version.config.logging_config.get("LogGroup") or original(environment)
