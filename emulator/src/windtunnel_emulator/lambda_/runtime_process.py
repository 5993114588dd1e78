"""One process that runs a function under AWS's runtime client."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from windtunnel_emulator.lambda_ import memory
from windtunnel_emulator.lambda_.interpreter import Interpreter
from windtunnel_emulator.lambda_.runtime_api import Invocation, Outcome, RuntimeApi

# util-linux, on every Debian. The kernel then kills the process when the thread that started it is gone,
# also if LocalStack was killed and could not.
_SETPRIV = shutil.which("setpriv")
_DIE_WITH_PARENT = [_SETPRIV, "--pdeathsig", "KILL", "--"] if _SETPRIV else []

_CHUNK_BYTES = 64 * 1024
# A bound, so that one function that never stops writing cannot hold up the others.
_MAX_DRAIN_BYTES = 1024 * 1024


class RuntimeProcess:
    """A started runtime. It stands still, as on AWS, while it waits for an invocation."""

    def __init__(self, on_output: Callable[[bytes], None]) -> None:
        """Use `start`."""
        self.exited: asyncio.Task[int]
        """Done when the process has ended: its exit status, or minus the signal that killed it."""
        self._api = RuntimeApi(on_idle=lambda: self._signal(signal.SIGSTOP))
        self._on_output = on_output
        self._output: int | None = None
        self._pid: int | None = None

    @classmethod
    async def start(
        cls,
        interpreter: Interpreter,
        handler: str,
        *,
        wrapper: str | None = None,
        directory: Path,
        variables: Mapping[str, str],
        on_output: Callable[[bytes], None],
    ) -> "RuntimeProcess":
        """Start a runtime.

        :param handler: `module.function`
        :param wrapper: a program that gets the runtime's command as its arguments and is to run it
        :param directory: the function's code, the working directory
        :param variables: the whole environment of the process; the address of the API is added
        :param on_output: receives what the function writes to stdout and stderr
        :raises OSError: the interpreter cannot be started
        """
        runtime = cls(on_output)
        address = await runtime._api.start()
        output, child_output = os.pipe()
        os.set_blocking(output, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *_DIE_WITH_PARENT,
                *([wrapper] if wrapper else []),
                str(interpreter.python),
                "-m",
                "awslambdaric",
                handler,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=child_output,
                stderr=child_output,
                cwd=directory,
                env={**variables, "AWS_LAMBDA_RUNTIME_API": address},
                start_new_session=True,  # a process group of its own, to be killed with its children
            )
        except OSError:
            os.close(output)
            runtime._api.close()
            raise
        finally:
            os.close(child_output)
        runtime._pid = process.pid
        runtime._output = output
        runtime.exited = asyncio.create_task(process.wait())
        asyncio.get_running_loop().add_reader(output, runtime.drain)
        return runtime

    @property
    def initialised(self) -> "asyncio.Future[bytes | None]":
        """Done when the Init phase is over: None, or the error document of a failed one."""
        return self._api.initialised

    @property
    def alive(self) -> bool:
        """Whether the process runs; it is ahead of `exited`, which the event loop has yet to notice."""
        if self._pid is None or self.exited.done():
            return False
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def deliver(self, invocation: Invocation, deadline: float) -> "asyncio.Future[Outcome]":
        """Hand the runtime an invocation.

        :param deadline: when the function times out, in seconds since the epoch
        """
        self._signal(signal.SIGCONT)
        return self._api.deliver(invocation, deadline)

    def drain(self) -> None:
        """Pass on what the function has written so far."""
        if self._output is None:
            return
        for _ in range(_MAX_DRAIN_BYTES // _CHUNK_BYTES):
            try:
                chunk = os.read(self._output, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                self._close_output()
                return
            self._on_output(chunk)

    def memory_bytes(self) -> int:
        """Return the resident memory of the process and its children now."""
        return memory.tree_bytes(self._pid) if self._pid else 0

    def peak_memory_bytes(self) -> int:
        """Return the most resident memory the process itself has held."""
        return memory.peak_bytes(self._pid) if self._pid else 0

    async def kill(self) -> None:
        """End the process and its children at once; what they have written is still passed on."""
        self._signal(signal.SIGKILL)
        await self.exited
        self.drain()
        self._close_output()
        self._api.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._pid:  # group 0 would be our own
            with suppress(ProcessLookupError):
                os.killpg(self._pid, number)

    def _close_output(self) -> None:
        if self._output is not None:
            asyncio.get_running_loop().remove_reader(self._output)
            os.close(self._output)
            self._output = None
