"""LocalStack's side: the runtime executor `process`, chosen by LAMBDA_RUNTIME_EXECUTOR."""

import asyncio
import logging
import os
import shutil
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from localstack import config
from localstack.runtime import events
from localstack.services.lambda_.invocation import lambda_models
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor

from windtunnel_emulator.lambda_ import interpreter, service
from windtunnel_emulator.lambda_.execution_environment import ExecutionEnvironment, FunctionVersion
from windtunnel_emulator.lambda_.limits import MAX_REQUEST_BYTES
from windtunnel_emulator.lambda_.runtime_api import Invocation
from windtunnel_emulator.once import once

LOG = logging.getLogger(__name__)

# LocalStack hands these to its own init binary; on AWS a function does not see them.
_INTERNAL_VARIABLES = ("EDGE_PORT", "AWS_LAMBDA_FUNCTION_TIMEOUT")
_INTERNAL_PREFIX = "LOCALSTACK_"

_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 compared with, not bound to


class CodeNotSupported(RuntimeError):
    """The code of a function or a layer is not in a zip file."""


class ProcessRuntimeExecutor(RuntimeExecutor):
    """An execution environment of one function version, as a process of this machine."""

    def __init__(self, id: str, function_version: lambda_models.FunctionVersion) -> None:
        """Create the executor; `start` starts the process."""
        super().__init__(id=id, function_version=function_version)
        self._environment: ExecutionEnvironment | None = None

    def start(self, env_vars: dict[str, str]) -> None:
        """Run the Init phase.

        :param env_vars: the variables LocalStack has for its containers
        """
        _run(self._start(env_vars))

    def stop(self) -> None:
        """End the environment.

        An invocation under way is let finish, as on AWS when a function is updated, unless LocalStack stops.
        """
        if self._environment:
            _run(self._environment.stop(drain=not events.infra_stopping.is_set()))

    def invoke(self, payload: dict[str, str]) -> lambda_models.InvocationResult:
        """Run the function once.

        :param payload: keys `invoke-id`, `invoked-function-arn`, `payload` and `trace-id`
        :raises RequestEntityTooLargeException: the event is larger than AWS takes
        """
        if self._environment is None:
            raise RuntimeError(f"Lambda environment {self.id} was invoked before it was started.")
        invocation = Invocation(
            request_id=payload["invoke-id"],
            payload=payload["payload"].encode(),
            function_arn=payload["invoked-function-arn"],
            trace_id=payload["trace-id"],
        )
        if len(invocation.payload) > MAX_REQUEST_BYTES:
            raise lambda_models.RequestEntityTooLargeException(
                f"{len(invocation.payload)} byte payload is too large for the RequestResponse "
                f"invocation type (limit {MAX_REQUEST_BYTES} bytes)"
            )
        result = _run(self._environment.invoke(invocation))
        return lambda_models.InvocationResult(
            request_id=invocation.request_id,
            payload=result.payload,
            is_error=result.is_error,
            logs=result.log,
        )

    def get_address(self) -> str:
        """Return where the environment is."""
        return "127.0.0.1"

    def get_endpoint_from_executor(self) -> str:
        """Return the host under which a function reaches LocalStack."""
        host = str(config.GATEWAY_LISTEN[0].host)
        return config.HOSTNAME_FROM_LAMBDA or ("127.0.0.1" if host in _ANY_ADDRESS else host)

    def get_runtime_endpoint(self) -> str:
        """Return nothing: the Runtime API is served here, not by LocalStack's gateway."""
        return ""

    def get_logs(self) -> str:
        """Return what the environment has written outside of invocations."""
        return self._environment.pending_log() if self._environment else ""

    @classmethod
    def prepare_version(cls, function_version: lambda_models.FunctionVersion) -> None:
        """Unpack code and layers.

        What is raised here becomes the StateReason of the function.

        :raises RuntimeNotAvailable: the function is not for the Python there is
        :raises InterpreterUnusable: there is no Python to run functions
        :raises CodeNotSupported: code or a layer is not in a zip file
        """
        settings = function_version.config
        name = function_version.id.function_name
        if warning := _interpreter().require(settings.runtime, name, strict=_is_strict()):
            LOG.warning(warning)
        _unpacked(settings.code)
        for layer in settings.layers:
            # In order: a file of a later layer replaces one of an earlier.
            shutil.copytree(_unpacked(layer.code), _layers_directory(function_version), dirs_exist_ok=True)

    @classmethod
    def cleanup_version(cls, function_version: lambda_models.FunctionVersion) -> None:
        """Remove the unpacked layers; the code is LocalStack's to remove."""
        shutil.rmtree(_layers_directory(function_version), ignore_errors=True)

    async def _start(self, env_vars: dict[str, str]) -> None:
        settings = self.function_version.config
        self._environment = ExecutionEnvironment(
            FunctionVersion(
                handler=settings.handler or "",
                version=self.function_version.id.qualifier,
                runtime=settings.runtime or "",
                code=_unpacked(settings.code),
                layers=_layers_directory(self.function_version) if settings.layers else None,
                variables=self._visible(env_vars),
                timeout_seconds=settings.timeout,
                memory_size_mb=settings.memory_size,
            ),
            _interpreter(),
            scratch=_scratch(),
        )
        provisioned = lambda_models.InitializationType.provisioned_concurrency
        await self._environment.start(required=env_vars["AWS_LAMBDA_INITIALIZATION_TYPE"] == provisioned)

    def _visible(self, env_vars: dict[str, str]) -> dict[str, str]:
        own = self.function_version.config.environment or {}
        return {
            name: str(value)
            for name, value in env_vars.items()
            if name in own or not (name in _INTERNAL_VARIABLES or name.startswith(_INTERNAL_PREFIX))
        }


class ProcessRuntimeExecutorPlugin(RuntimeExecutorPlugin):
    """Makes the executor known to LocalStack."""

    name = "process"

    def load(self, *args: object, **kwargs: object) -> type[RuntimeExecutor]:
        """Return the executor class, and set right what is around it."""
        service.set_right()
        return ProcessRuntimeExecutor


@once
def _loop() -> asyncio.AbstractEventLoop:
    """Return the loop all environments live in.

    Its thread never ends, which matters: a runtime process dies with the thread that started it.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="lambda-environments", daemon=True).start()
    return loop


def _run[T](work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()


def _interpreter() -> interpreter.Interpreter:
    return interpreter.inspect(os.environ.get(interpreter.PYTHON_VARIABLE))


def _is_strict() -> bool:
    return os.environ.get(interpreter.STRICT_VARIABLE, "").lower() in ("1", "true")


def _unpacked(code: lambda_models.S3Code | lambda_models.HotReloadingCode | None) -> Path:
    if not isinstance(code, lambda_models.S3Code):
        raise CodeNotSupported(
            "Only code from a zip file can run as a process: no container image, and no mounted folder "
            f"(the bucket {config.BUCKET_MARKER_LOCAL}). Upload the code, and again after each change."
        )
    code.prepare_for_execution()
    return Path(code.get_unzipped_code_location())


def _scratch() -> Path:
    """Return a directory that LocalStack clears when it starts."""
    directory = Path(config.dirs.tmp) / "lambda"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _layers_directory(function_version: lambda_models.FunctionVersion) -> Path:
    return _scratch() / f"layers-{function_version.config.internal_revision}"
