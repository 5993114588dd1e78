"""What can be said of a repository without a stack: DAG files parse, functions import, requirements resolve.

It is looked at with the Python environments of the local engine, whichever engine runs the stack.
"""

import json
import os
import subprocess
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from windtunnel.local.stack import ProcessStack
from windtunnel.seeding.functions import LIBRARY, Function, read_functions
from windtunnel.services import dag_files
from windtunnel.stack.base import ignore
from windtunnel.stack.commands import TAIL
from windtunnel.stack.errors import StackError

# Seconds that a DAG file may take; Airflow parses each again and again.
TIME_BUDGET = 5.0

# How long a function's import may take, in seconds, if its own timeout is not longer: AWS's Init phase.
INIT_TIMEOUT = 10

# In place of LocalStack's address: a port of this machine on which nothing listens.
NOWHERE = "http://127.0.0.1:1"

INSIDE = Path(__file__).with_name("inside.py")

# How faulthandler begins when a process has taken too long.
STOPPED = "Timeout ("

# Files of a traceback that are not the user's: Python's, installed packages', ours.
FOREIGN = ('"<', f'"{sysconfig.get_path("stdlib")}/', "/site-packages/", str(INSIDE))

Say = Callable[[str], None]


class CheckFailed(Exception):
    """Something is not as it has to be; the message says what."""


class CheckImpossible(Exception):
    """Only a stack can tell; the message says why."""


@dataclass(frozen=True)
class Check:
    """One thing that is to hold."""

    # A file or folder, relative to the repository.
    subject: str
    # What is to hold of it, in a word.
    fact: str
    # Raises CheckFailed if it does not; CheckImpossible or a StackError if that cannot be known.
    require: Callable[[], None]


class Checks:
    """The static checks of one repository."""

    def __init__(self, stack: ProcessStack, repository: Path, time_budget: float = TIME_BUDGET) -> None:
        """Look at nothing yet.

        :param engine: whose settings name the repository's folders, and whose environments are used.
        :param repository: what names are relative to.
        :param time_budget: seconds that a DAG file may take.
        """
        self._stack = stack
        self._environments = stack.venvs
        self._repository = repository.resolve()
        self._time_budget = time_budget

    def find(self, say: Say) -> list[Check]:
        """All checks there are to make. To know the DAG files is to ask Airflow, so they are parsed by now.

        :param say: gets a line before an installation begins.
        """
        requirements = list(self._requirements())
        return [*requirements, *self._functions(say), *self._dags(say, requirements)]

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._repository)

    def _requirements(self) -> Iterator[Check]:
        file = self._stack.settings.requirements_file()
        lines = (line.strip() for line in file.read_text().splitlines())
        if any(line and not line.startswith("#") for line in lines):
            yield Check(self._name(file), "resolves", self._resolve)

    def _resolve(self) -> None:
        try:
            self._environments.require_resolvable()
        except StackError as error:
            what = "does not resolve beside Airflow's own packages, or the package index cannot be reached:"
            said = "\n".join(part for part in (what, error.output, error.next_step) if part)
            raise CheckFailed(said) from error

    # Functions

    def _functions(self, say: Say) -> Iterator[Check]:
        folder = self._stack.settings.folder("LAMBDAS_FOLDER")
        functions, wrong = read_functions(folder)
        checks = {name: partial(_fail, reason) for name, reason in wrong.items()}
        for function in functions:
            checks.setdefault(function.folder.name, partial(self._import_function, function))
        if functions:
            # Where that fails, each of them says so.
            with suppress(StackError):
                self._environments.install(say, ("lambda",))
        for name, require in sorted(checks.items()):
            yield Check(self._name(folder / name), "imports", require)

    def _import_function(self, function: Function) -> None:
        self._environments.install(ignore, ("lambda",))
        limit = max(INIT_TIMEOUT, function.settings["Timeout"])
        arguments = (str(function.folder), function.settings["Handler"], str(limit))
        with self._place() as place:
            process = self._run("lambda", self._function_variables(function, place), "function", *arguments)
        if process.returncode == 0:
            return
        said = telling(process.stderr) or f"its process has ended with {_how(process.returncode)}"
        if function.settings.get("Layers"):
            raise CheckImpossible(f"its layers are on the stack alone:\n{said}")
        raise CheckFailed(said)

    def _function_variables(self, function: Function, place: Path) -> dict[str, str]:
        """What AWS and the function's own settings say, for a function that is not called.

        :param place: gets a folder with nothing but what every function can import.
        """
        library = place / "library"
        library.mkdir()
        (library / LIBRARY).symlink_to(self._stack.root / "lambdas" / LIBRARY)
        aws, code = self._aws(), str(function.folder)
        own = function.settings.get("Environment", {}).get("Variables", {})
        path = [code, str(library), *([own["PYTHONPATH"]] if "PYTHONPATH" in own else [])]
        return {
            **aws,
            "AWS_REGION": aws["AWS_DEFAULT_REGION"],
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.settings.get("MemorySize", 128)),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "check",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.settings['Runtime']}",
            "_HANDLER": function.settings["Handler"],
            "LAMBDA_TASK_ROOT": code,
            "LD_LIBRARY_PATH": os.pathsep.join((code, f"{code}/lib")),
            "TZ": ":UTC",
            **own,
            **self._common(place, "lambda"),
            "PYTHONPATH": os.pathsep.join(path),
        }

    # DAG files

    def _dags(self, say: Say, requirements: list[Check]) -> list[Check]:
        folder = self._stack.settings.folder("DAGS_FOLDER")
        if not any(folder.iterdir()):
            return []
        try:
            for check in requirements:
                check.require()
        except CheckFailed:
            reason = f"not looked at, because {requirements[0].subject} does not resolve"
            return [Check(self._name(folder), "parses", partial(_fail, reason))]
        try:
            self._environments.install(say, ("airflow",))
            answers = self._parse(folder)
        except StackError as error:
            return [Check(self._name(folder), "parses", partial(_fail, str(error)))]
        problems = problems_of(answers, self._time_budget)
        return [
            Check(self._name(Path(file)), "parses", partial(_require_none, found))
            for file, found in problems.items()
        ]

    def _parse(self, folder: Path) -> dict[str, Any]:
        with self._place() as place:
            process = self._run("airflow", self._airflow_variables(place, folder), "dags", str(folder))
        if process.returncode != 0:
            raise StackError(
                f"Airflow has ended with {_how(process.returncode)}, before any DAG file was parsed",
                telling(process.stderr),
            )
        return dict(json.loads(process.stdout.splitlines()[-1]))

    def _airflow_variables(self, place: Path, dags: Path) -> dict[str, str]:
        """The environment of the dag-processor, but with no database and no AWS behind it.

        :param place: gets the folders that a container has.
        """
        for volume in self._service["volumes"]:
            if volume["type"] == "bind":
                target = place / volume["target"].lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to((self._stack.root / Path(volume["source"]).expanduser()).resolve())
        home, own = place / "opt" / "airflow", place / "opt" / "windtunnel"
        return {
            **self._given(),
            **self._aws(),
            **self._common(place, "airflow"),
            "PYTHONPATH": f"{home}:{own}",
            "WINDTUNNEL_HOME": str(own),
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONFIG": str(home / "config" / "airflow.cfg"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{place}/none.db",
            # There are no secrets to encrypt.
            "AIRFLOW__CORE__FERNET_KEY": "",
            # The whole way to an error: what of it is the user's own is picked afterwards.
            "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }

    # Processes

    @contextmanager
    def _place(self) -> Iterator[Path]:
        self._stack.state_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="check-", dir=self._stack.state_folder) as place:
            yield Path(place)

    @property
    def _service(self) -> dict[str, Any]:
        return dict(self._stack.configuration["services"]["dag-processor"])

    def _given(self) -> dict[str, str]:
        """The variables that have a value in the compose file: nothing is taken from this shell."""
        variables = self._service["environment"].items()
        return {name: str(value) for name, value in variables if value is not None}

    def _aws(self) -> dict[str, str]:
        """The stack's settings of AWS, but they lead nowhere, and that at once."""
        settings = {name: value for name, value in self._given().items() if name.startswith("AWS_")}
        return {**settings, "AWS_ENDPOINT_URL": NOWHERE, "AWS_MAX_ATTEMPTS": "1"}

    def _common(self, place: Path, environment: str) -> dict[str, str]:
        return {
            "PATH": f"{self._environments.python(environment).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(place),
            "TMPDIR": str(place),
            "LANG": "C.UTF-8",
            # The folders of users are not written to.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def _run(
        self, environment: str, variables: Mapping[str, str], *arguments: str
    ) -> "subprocess.CompletedProcess[str]":
        command = [str(self._environments.python(environment)), "-P", str(INSIDE), *arguments]
        return subprocess.run(  # noqa: S603
            command,
            env=variables,
            cwd=variables["HOME"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )


def problems_of(answers: Mapping[str, Mapping[str, Any]], time_budget: float) -> dict[str, list[str]]:
    """What is wrong with each DAG file.

    :param answers: what has come of each, as ``windtunnel.pytest_plugin.static_checks.inside`` says.
    :param time_budget: seconds that a file may take.
    """
    files_of: dict[str, list[str]] = defaultdict(list)
    for file, answer in answers.items():
        for dag_id in answer.get("dag_ids", ()):
            files_of[dag_id].append(file)
    imported = {file for answer in answers.values() for file in answer.get("imports", ())}
    return {
        file: list(_problems(file, answer, time_budget, files_of, file in imported))
        for file, answer in answers.items()
    }


def _problems(
    file: str,
    answer: Mapping[str, Any],
    time_budget: float,
    files_of: Mapping[str, list[str]],
    is_imported: bool,
) -> Iterator[str]:
    if "ended" in answer:
        yield f"its process has ended with {_how(answer['ended'])}:\n{telling(answer['output'])}"
        return
    yield from (telling(error) for error in answer["errors"])
    if answer["seconds"] > time_budget:
        yield (
            f"takes {answer['seconds']:.1f} s; its time budget is {time_budget:g} s (dag_time_budget). "
            "Airflow parses it again and again: move what takes long into a task."
        )
    for dag_id in answer["dag_ids"]:
        if others := [other for other in files_of[dag_id] if other != file]:
            yield f"the DAG {dag_id} is also in {', '.join(others)}: give one of them another id"
    # One that others import is a helper.
    if answer["makes_dags"] and not (answer["dag_ids"] or answer["errors"] or is_imported):
        yield f"no DAG comes of it: {dag_files.REMEDY}"


def _fail(reason: str) -> None:
    raise CheckFailed(reason)


def _require_none(problems: list[str]) -> None:
    if problems:
        raise CheckFailed("\n".join(problems))


def telling(output: str) -> str:
    """The end of what a process has said, without what of its tracebacks is not the user's code.

    A process that was stopped, because it took too long, ends with where it was, the latest call first.
    """
    stopped = output.rfind(STOPPED)
    lines = []
    foreign = False
    for line in output[max(stopped, 0) :].strip().splitlines():
        if line.startswith('  File "'):
            foreign = any(place in line for place in FOREIGN)
        elif not line.startswith("    "):
            foreign = False
        if not foreign:
            lines.append(line)
    return "\n".join(lines[:TAIL] if stopped >= 0 else lines[-TAIL:])


def _how(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
