"""The Python that runs the functions: which AWS runtime it stands for."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from windtunnel_emulator.once import once

PYTHON_VARIABLE = "LAMBDA_RUNTIME_PYTHON"
STRICT_VARIABLE = "LAMBDA_STRICT_RUNTIME"

_PROBE = "import sys, awslambdaric; print('python%d.%d' % sys.version_info[:2])"
_PROBE_TIMEOUT_SECONDS = 20


class InterpreterUnusable(RuntimeError):
    """The configured Python is missing, or has no AWS runtime client."""


class RuntimeNotAvailable(RuntimeError):
    """A function asks for a runtime that nothing here can stand for."""


@dataclass(frozen=True)
class Interpreter:
    """A Python that can run functions."""

    python: Path
    """Its executable, in an environment that has `awslambdaric`."""
    runtime: str
    """The AWS name of its version, such as `python3.13`."""

    def require(self, runtime: str | None, function_name: str, *, strict: bool) -> str:
        """Refuse a function that this Python cannot run.

        :param runtime: the function's Runtime; None for a function from a container image
        :param function_name: named in the message
        :param strict: only a function of this very version is run
        :return: a warning if the function is for another version of Python, else an empty text
        :raises RuntimeNotAvailable: it is for no Python, or `strict` and for another version
        """
        if runtime == self.runtime:
            return ""
        wants = f"Function {function_name} wants the runtime {runtime or 'of a container image'}"
        if strict or not (runtime or "").startswith("python3."):
            raise RuntimeNotAvailable(
                f"{wants}, but only {self.runtime} is available here ({PYTHON_VARIABLE}={self.python}). "
                f"Set its Runtime to {self.runtime}."
            )
        return f"{wants} and runs on {self.runtime}, the one there is. {STRICT_VARIABLE}=1 refuses it."


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
