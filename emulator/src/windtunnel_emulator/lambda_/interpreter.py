"""The Python that runs the functions: which AWS runtime it stands for."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from windtunnel_emulator.once import once

PYTHON_VARIABLE = "LAMBDA_RUNTIME_PYTHON"

_PROBE = "import sys, awslambdaric; print('python%d.%d' % sys.version_info[:2])"
_PROBE_TIMEOUT_SECONDS = 20


class InterpreterUnusable(RuntimeError):
    """The configured Python is missing, or has no AWS runtime client."""


class RuntimeNotAvailable(RuntimeError):
    """A function asks for a runtime other than the one there is."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run functions."""

    python: Path
    """Its executable, in an environment that has `awslambdaric`."""
    runtime: str
    """The AWS name of its version, such as `python3.13`."""

    def require(self, runtime: str | None, function_name: str) -> None:
        """Refuse a function that was written for another runtime.

        :param runtime: the function's Runtime; None for a function from a container image
        :param function_name: named in the message
        :raises RuntimeNotAvailable: the two differ
        """
        if runtime != self.runtime:
            raise RuntimeNotAvailable(
                f"Function {function_name} wants the runtime {runtime or 'of a container image'}, "
                f"but only {self.runtime} is available here ({PYTHON_VARIABLE}={self.python}). "
                f"Delete the function and create it with Runtime={self.runtime}."
            )


@once
def inspect(python: str | None) -> Interpreter:
    """Find out what a Python can run; the answer is kept.

    :param python: value of LAMBDA_RUNTIME_PYTHON
    :raises InterpreterUnusable: it is unset, does not start, or lacks `awslambdaric`
    """
    advice = "Set it to the python of an environment with awslambdaric installed."
    if not python:
        raise InterpreterUnusable(f"{PYTHON_VARIABLE} is not set: no Lambda function can run. {advice}")
    try:
        probe = subprocess.run(  # noqa: S603 the operator of the emulator names the program
            [python, "-I", "-c", _PROBE],
            capture_output=True,
            text=True,
            check=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        last_line = reason.strip().splitlines()[-1]
        raise InterpreterUnusable(
            f"{PYTHON_VARIABLE}={python} cannot run Lambda functions: {last_line}. {advice}"
        ) from error
    return Interpreter(Path(python), probe.stdout.strip())
