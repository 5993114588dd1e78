"""A Lambda execution environment: its life from Init to Shutdown, its limits and its log."""

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path

from windtunnel_emulator.lambda_.faults import InitFailed, OutOfMemory, RuntimeExited, RuntimeFault, TimedOut
from windtunnel_emulator.lambda_.interpreter import Interpreter
from windtunnel_emulator.lambda_.invocation_log import InvocationLog, init_report_line, report_line
from windtunnel_emulator.lambda_.limits import INIT_TIMEOUT_SECONDS, MEMORY_SAMPLE_SECONDS
from windtunnel_emulator.lambda_.runtime_api import Invocation, Outcome
from windtunnel_emulator.lambda_.runtime_process import RuntimeProcess

_MIB = 1024 * 1024

# Where a function's code is on AWS.
TASK_ROOT = "/var/task"


@dataclass(frozen=True)
class FunctionVersion:
    """What an environment has to know of the function it is for."""

    handler: str
    """`module.function`."""
    version: str
    """`$LATEST` or a number."""
    runtime: str
    """The AWS name of what it was written for, such as `python3.12`."""
    code: Path
    """The unpacked package."""
    layers: Path | None
    """What AWS mounts at /opt; None without layers."""
    variables: Mapping[str, str]
    """AWS's variables and the function's own."""
    timeout_seconds: int
    memory_size_mb: int


@dataclass(frozen=True)
class Result:
    """What an invocation came to."""

    payload: bytes
    is_error: bool
    log: str
    """START, the function's output, END and REPORT."""


class ExecutionEnvironment:
    """Runs one invocation at a time. Use it from one event loop.

    It outlives its process: after a crash or a timeout the next invocation gets a new process, and finds the
    temporary directory as it was, like /tmp on AWS.
    """

    def __init__(
        self,
        function: FunctionVersion,
        interpreter: Interpreter,
        scratch: Path,
        init_timeout_seconds: float = INIT_TIMEOUT_SECONDS,
    ) -> None:
        """Create the environment; `start` begins its Init phase.

        :param scratch: where its temporary directory is made
        """
        self._function = function
        self._interpreter = interpreter
        self._init_timeout_seconds = init_timeout_seconds
        self._temporary = Path(tempfile.mkdtemp(prefix="environment-", dir=scratch))
        self._log = InvocationLog()
        self._runtime: RuntimeProcess | None = None
        self._init_duration_ms: float | None = None
        self._max_memory_bytes = 0
        self._busy = False
        self._stopped = False

    async def start(self, *, required: bool = False) -> None:
        """Run the Init phase.

        As on AWS, a function that fails in it is initialised again by its first invocation, which then
        reports the failure.

        :param required: it must not fail, as for provisioned concurrency
        :raises RuntimeFault: it has failed, if `required`
        :raises OSError: the interpreter cannot be started
        """
        started = time.monotonic()
        try:
            await self._initialise(started + self._init_timeout_seconds)
        except RuntimeFault as fault:
            self._log.line(init_report_line("init", _ms_since(started), fault.status))
            if required:
                raise
        else:
            self._init_duration_ms = _ms_since(started)

    async def invoke(self, invocation: Invocation) -> Result:
        """Run the function once, within its timeout and memory.

        :return: the outcome; a fault of the function is one, too
        :raises OSError: the interpreter cannot be started
        """
        self._busy = True
        started = time.monotonic()
        status = ""
        try:
            outcome = await self._run(invocation, started + self._function.timeout_seconds)
        except RuntimeFault as fault:
            outcome = Outcome(fault.payload(invocation.request_id), is_error=True)
            status = fault.status
            for line in fault.log_lines(invocation.request_id, _timestamp()):
                self._log.line(line)
        finally:
            self._busy = False
        self._log_end(invocation, _ms_since(started), status)
        if self._stopped:
            await self._shut_down()
        # A traceback has the paths that it has on AWS.
        code, payload = str(self._function.code), outcome.payload
        if outcome.is_error:
            payload = payload.replace(code.encode(), TASK_ROOT.encode())
        return Result(payload, outcome.is_error, self._log.take().replace(code, TASK_ROOT))

    async def stop(self, *, drain: bool) -> None:
        """End the environment, its process and its temporary directory.

        :param drain: let an invocation under way come to its end first, without waiting for it here
        """
        self._stopped = True
        if not (drain and self._busy):
            await self._shut_down()

    def pending_log(self) -> str:
        """Return what was written since the last invocation, and forget it."""
        return self._log.take()

    async def _run(self, invocation: Invocation, deadline: float) -> Outcome:
        try:
            if self._runtime is None or not self._runtime.alive:
                await self._discard()
                await self._initialise_again(deadline)
        finally:
            self._log.line(f"START RequestId: {invocation.request_id} Version: {self._function.version}")
        runtime = self._require_runtime()
        outcome = await self._watch(runtime.deliver(invocation, _epoch(deadline)), deadline)
        if outcome.is_fatal:
            await self._watch(runtime.exited, deadline)
            await self._discard()
        runtime.drain()
        return outcome

    async def _initialise_again(self, deadline: float) -> None:
        started = time.monotonic()
        self._init_duration_ms = None
        try:
            await self._initialise(deadline)
        except RuntimeFault as fault:
            self._log.line(init_report_line("invoke", _ms_since(started), fault.status))
            raise

    async def _initialise(self, deadline: float) -> None:
        self._max_memory_bytes = 0
        self._runtime = await RuntimeProcess.start(
            self._interpreter,
            self._function.handler,
            wrapper=_wrapper(self._function),
            directory=self._function.code,
            variables=_process_variables(self._function, self._interpreter, self._temporary),
            on_output=self._log.write,
        )
        document = await self._watch(self._runtime.initialised, deadline)
        if document is not None:
            await self._discard()
            raise InitFailed(document)

    async def _watch[T](self, awaited: "asyncio.Future[T]", deadline: float) -> T:
        """Wait for the runtime to do something, within the limits of the function.

        :raises RuntimeFault: it did something else; its process is gone then
        """
        runtime = self._require_runtime()
        try:
            while True:
                remaining = deadline - time.monotonic()
                await asyncio.wait(
                    (awaited, runtime.exited),
                    timeout=max(0, min(remaining, MEMORY_SAMPLE_SECONDS)),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                self._check_memory(runtime)
                if awaited.done():
                    return awaited.result()
                if runtime.exited.done():
                    raise RuntimeExited(runtime.exited.result())
                if remaining <= 0:
                    raise TimedOut(self._function.timeout_seconds)
        except RuntimeFault:
            await self._discard()
            raise

    def _check_memory(self, runtime: RuntimeProcess) -> None:
        used = max(runtime.memory_bytes(), runtime.peak_memory_bytes())
        self._max_memory_bytes = max(self._max_memory_bytes, used)
        if used > self._function.memory_size_mb * _MIB:
            raise OutOfMemory

    def _log_end(self, invocation: Invocation, duration_ms: float, status: str) -> None:
        self._log.line(f"END RequestId: {invocation.request_id}")
        self._log.line(
            report_line(
                request_id=invocation.request_id,
                duration_ms=min(duration_ms, self._function.timeout_seconds * 1000),
                init_duration_ms=self._init_duration_ms,
                memory_size_mb=self._function.memory_size_mb,
                max_memory_used_mb=min(ceil(self._max_memory_bytes / _MIB), self._function.memory_size_mb),
                status=status,
            )
        )
        self._init_duration_ms = None

    def _require_runtime(self) -> RuntimeProcess:
        if self._runtime is None:
            raise RuntimeError("The execution environment has no runtime: start it first.")
        return self._runtime

    async def _discard(self) -> None:
        if self._runtime is not None:
            await self._runtime.kill()
            self._runtime = None

    async def _shut_down(self) -> None:
        await self._discard()
        await asyncio.to_thread(shutil.rmtree, self._temporary, ignore_errors=True)


def _process_variables(
    function: FunctionVersion, interpreter: Interpreter, temporary: Path
) -> dict[str, str]:
    """Return the whole environment of a runtime process: nothing is inherited.

    The order of the paths is that of AWS: the function's code before its layers before the runtime.
    """
    given = function.variables
    code, layers = function.code, function.layers
    python_path = [code]
    library_path = [code, code / "lib"]
    program_path = [interpreter.python.parent, Path("/usr/local/bin"), Path("/usr/bin"), Path("/bin")]
    if layers:
        packages = layers / "python"
        python_path += [packages / "lib" / function.runtime / "site-packages", packages]
        library_path.append(layers / "lib")
        program_path.append(layers / "bin")
    own_python_path = [given["PYTHONPATH"]] if "PYTHONPATH" in given else []
    return {
        "LANG": "en_US.UTF-8",
        "PATH": _joined(program_path),
        "LD_LIBRARY_PATH": _joined(library_path),
        **given,
        **_direct(given),
        "PYTHONPATH": _joined([*python_path, *own_python_path]),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.runtime}",
        "LAMBDA_TASK_ROOT": str(code),
        "PWD": str(code),
        "TMPDIR": str(temporary),
        # As on AWS there is no HOME. What AWS's tools would look for in this user's own must not be found.
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def _direct(given: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps a proxy of the function's own settings away from the emulator, which AWS need not."""
    if not any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in given):
        return {}
    # Of the two spellings Python prefers the small letters.
    own = [given[name] for name in ("NO_PROXY", "no_proxy") if name in given]
    hosts = ",".join([*own, "localhost", "127.0.0.1"])
    return {"NO_PROXY": hosts, "no_proxy": hosts}


def _wrapper(function: FunctionVersion) -> str | None:
    """Return the program that is to start the runtime: AWS_LAMBDA_EXEC_WRAPPER, at the paths that hold here.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-modify.html
    """
    path = function.variables.get("AWS_LAMBDA_EXEC_WRAPPER")
    for prefix, place in ((TASK_ROOT, function.code), ("/opt", function.layers)):
        if path and place and path.startswith(f"{prefix}/"):
            return str(place) + path.removeprefix(prefix)
    return path


def _joined(paths: Iterable[Path | str]) -> str:
    return os.pathsep.join(map(str, paths))


def _epoch(monotonic: float) -> float:
    return time.time() + monotonic - time.monotonic()


def _ms_since(monotonic: float) -> float:
    return (time.monotonic() - monotonic) * 1000


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
