"""Static checks of a repository: DAG files parse, functions import, requirements resolve.

They need no stack, and no pytest: ``./windtunnel release`` makes them, too. They use the local engine's
Python environments, whichever engine runs the stack.
"""

import io
import json
import os
import re
import subprocess
import sysconfig
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from windtunnel.local.definitions import Definitions, installing
from windtunnel.local.layout import Layout
from windtunnel.local.stack import ProcessStack
from windtunnel.seeding.functions import LAYERS, LIBRARY, Function, read_functions
from windtunnel.seeding.installing import Installer
from windtunnel.seeding.layers import Layers
from windtunnel.seeding.packaging import Packages
from windtunnel.seeding.validation import SeedingError
from windtunnel.services import dag_files, lambda_process
from windtunnel.stack import requirements
from windtunnel.stack.base import Say, ignore
from windtunnel.stack.commands import TAIL
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import PORTS

# Seconds that a DAG file may take; Airflow parses each again and again.
TIME_BUDGET = 5.0

# How long a function's import may take, in seconds, if its own timeout is not longer: AWS's Init phase.
INIT_TIMEOUT = 10

# The folder of a function's unpacked package.
CODE = "code"

# The service whose work is done here, and a port of this machine on which nothing listens.
PROCESSOR, NOBODY = "dag-processor", 1

INSIDE = Path(__file__).with_name("inside.py")

# How faulthandler's output begins if a process takes too long.
STOPPED = "Timeout ("

# Files of a traceback that are not the user's: Python's, installed packages', ours.
FOREIGN = ('"<', f'"{sysconfig.get_path("stdlib")}/', "/site-packages/", str(INSIDE))

# What came of a DAG file, as ``windtunnel.pytest_plugin.static_checks.inside`` says.
Answer = Mapping[str, Any]


class CheckFailed(Exception):
    """A check failed; the message says why."""


class CheckSkipped(Exception):
    """Only a stack can tell whether a check holds; the message says why."""


@dataclass(frozen=True)
class Check:
    """One fact that must hold.

    :param subject: a file or folder, relative to the repository.
    :param fact: what must hold for it, in a word.
    :param require: raises CheckFailed if it does not hold, StackError if that cannot be found out,
        CheckSkipped if only a stack can tell.
    """

    subject: str
    fact: str
    require: Callable[[], None]


class Checks:
    """The static checks of one repository."""

    def __init__(self, stack: ProcessStack, repository: Path, time_budget: float = TIME_BUDGET) -> None:
        """Check nothing yet.

        :param stack: its settings name the repository's folders; the checks use its Python environments.
        :param repository: names of checks are relative to it.
        :param time_budget: how long a DAG file may take, in seconds.
        """
        self._stack = stack
        self._environments = stack.venvs
        self._repository = repository.resolve()
        self._time_budget = time_budget

    def find(self, say: Say) -> list[Check]:
        """Return all checks; DAG files are parsed here, because only Airflow knows which files these are.

        :param say: gets a line before an installation begins.
        """
        resolved = list(self._requirements())
        return [*resolved, *self._functions(say), *self._dags(say, resolved)]

    def of_dags(self, say: Say) -> list[Check]:
        """Return the checks of DAG files alone, as :meth:`find` does."""
        return self._dags(say, list(self._requirements()))

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._repository)

    def _requirements(self) -> Iterator[Check]:
        file = self._stack.settings.requirements_file()
        lines = (line.strip() for line in requirements.text(file).splitlines())
        if any(line and not line.startswith("#") for line in lines):
            yield Check(self._name(file), "resolves", self._resolve)

    def _resolve(self) -> None:
        try:
            self._environments.require_resolvable()
        except StackError as error:
            what = "does not resolve beside Airflow's own packages, or the package index cannot be reached:"
            raise CheckFailed(str(StackError(what, error.output, error.next_step))) from error

    def _functions(self, say: Say) -> Iterator[Check]:
        folder = self._stack.settings.folder("LAMBDAS_FOLDER")
        functions, wrong = read_functions(folder)
        given = self._stack.configuration["services"]["localstack"]["environment"]
        installer = Installer.of({**given, **installing(self._stack.settings, self._environments)}, say)
        packages = Packages(folder, self._stack.root / "lambdas" / LIBRARY, installer)
        checks = {name: partial(_require_none, [reason]) for name, reason in wrong.items()}
        for function in functions:
            checks.setdefault(function.folder.name, partial(self._import_function, function, packages))
        for name in packages.layers():
            checks[f"{LAYERS}/{name}"] = partial(self._make_layer, packages, name)
        if functions:
            # If that fails, each of them says so.
            with suppress(StackError):
                self._environments.install(say, ("lambda",))
        for name, require in sorted(checks.items()):
            fact = "installs" if name.startswith(f"{LAYERS}/") else "imports"
            yield Check(self._name(folder / name), fact, require)

    def _make_layer(self, packages: Packages, name: str) -> None:
        self._environments.install(ignore, ("lambda",))
        try:
            Layers(packages).content(name)
        except (SeedingError, OSError) as error:
            raise CheckFailed(str(error)) from error

    def _import_function(self, function: Function, packages: Packages) -> None:
        self._environments.install(ignore, ("lambda",))
        layers = Layers(packages)
        try:
            code = packages.function(function)
            layers.require_fit(function, code)
        except (SeedingError, OSError) as error:
            raise CheckFailed(str(error)) from error
        named = function.settings.get("Layers", [])
        contents = [layers.content(setting) for setting in named]
        limit = max(INIT_TIMEOUT, function.settings["Timeout"])
        variables = partial(self._function_variables, function, code, contents)
        process = self._run("lambda", variables, "function", CODE, function.settings["Handler"], str(limit))
        if process.returncode == 0:
            return
        said = telling(process.stderr) or f"its process has ended with {_how(process.returncode)}"
        # Where the line can be corrected.
        said = re.sub(
            rf"{re.escape(str(self._stack.state_folder))}/check-\w+/{CODE}", str(function.folder), said
        )
        if missing := [setting for setting, content in zip(named, contents, strict=True) if not content]:
            raise CheckSkipped(f"its layers {', '.join(missing)} are on the stack alone:\n{said}")
        raise CheckFailed(said)

    def _function_variables(
        self, function: Function, code: bytes, layers: Sequence[bytes], place: Path
    ) -> dict[str, str]:
        """Return what AWS and the function's own settings define, and unpack its package into the folder."""
        for folder, contents in ((CODE, [code]), ("opt", layers)):
            for content in filter(None, contents):
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    archive.extractall(place / folder)
        aws = self._aws()
        return lambda_process.variables(
            code=place / CODE,
            layers=place / "opt" if layers else None,
            python=self._environments.python("lambda"),
            runtime=function.settings["Runtime"],
            temporary=place,
            given={
                **aws,
                "AWS_REGION": aws["AWS_DEFAULT_REGION"],
                "AWS_LAMBDA_FUNCTION_NAME": function.name,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.settings.get("MemorySize", 128)),
                "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
                "AWS_LAMBDA_LOG_STREAM_NAME": "check",
                "_HANDLER": function.settings["Handler"],
                "TZ": ":UTC",
                **function.settings.get("Environment", {}).get("Variables", {}),
            },
        )

    def _dags(self, say: Say, requirements: list[Check]) -> list[Check]:
        folder = self._stack.settings.folder("DAGS_FOLDER")
        if not any(folder.iterdir()):
            return []
        try:
            for check in requirements:
                check.require()
            self._environments.install(say, ("airflow",))
            problems = problems_of(self._parse(folder), self._time_budget)
        except CheckFailed:
            problems = {str(folder): [f"not looked at, because {requirements[0].subject} does not resolve"]}
        except StackError as error:
            problems = {str(folder): [str(error)]}
        return [
            Check(self._name(Path(path)), "parses", partial(_require_none, found))
            for path, found in problems.items()
        ]

    def _parse(self, folder: Path) -> dict[str, Answer]:
        process = self._run("airflow", self._airflow_variables, "dags", str(folder))
        if process.returncode != 0:
            what = f"Airflow has ended with {_how(process.returncode)}, before any DAG file was parsed"
            raise StackError(what, telling(process.stderr))
        return dict(json.loads(process.stdout.splitlines()[-1]))

    def _airflow_variables(self, place: Path) -> dict[str, str]:
        """Return the dag-processor's, but without database and AWS, and make a container's folders."""
        stack, layout = self._stack, Layout(place)
        for volume in self._service["volumes"]:
            layout.mount(volume, stack.root)
        nowhere = dict.fromkeys(PORTS, NOBODY)
        definitions = Definitions(stack.settings, layout, stack.venvs, stack.configuration, nowhere)
        return {
            **definitions.of(PROCESSOR, PROCESSOR)["environment"],
            **self._aws(),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{place}/none.db",
            # There are no secrets to encrypt.
            "AIRFLOW__CORE__FERNET_KEY": "",
            # The whole traceback: the user's own lines are picked from it afterwards.
            "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "100",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        }

    @property
    def _service(self) -> dict[str, Any]:
        return dict(self._stack.configuration["services"][PROCESSOR])

    def _given(self) -> dict[str, str]:
        """Return the variables that have a value in the compose file, and none of this shell's."""
        variables = self._service["environment"].items()
        return {name: str(value) for name, value in variables if value is not None}

    def _aws(self) -> dict[str, str]:
        """Return the stack's AWS settings, with a port of this machine on which nothing listens."""
        settings = {name: value for name, value in self._given().items() if name.startswith("AWS_")}
        return {**settings, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{NOBODY}", "AWS_MAX_ATTEMPTS": "1"}

    def _run(
        self, environment: str, variables: Callable[[Path], dict[str, str]], *arguments: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``inside.py`` in a temporary folder, without this shell's variables."""
        python = self._environments.python(environment)
        self._stack.state_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="check-", dir=self._stack.state_folder) as place:
            environment_variables = {
                "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
                "HOME": place,
                "TMPDIR": place,
                "LANG": "C.UTF-8",
                # The folders of users are not written to.
                "PYTHONDONTWRITEBYTECODE": "1",
                **variables(Path(place)),
            }
            return subprocess.run(  # noqa: S603
                [python, "-P", INSIDE, *arguments],
                env=environment_variables,
                cwd=place,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )


def problems_of(answers: Mapping[str, Answer], time_budget: float) -> dict[str, list[str]]:
    """Return what is wrong with each DAG file.

    :param answers: by file.
    :param time_budget: how long a file may take, in seconds.
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
    file: str, answer: Answer, time_budget: float, files_of: Mapping[str, list[str]], is_imported: bool
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
    # A file that others import is a helper.
    if answer["makes_dags"] and not (answer["dag_ids"] or answer["errors"] or is_imported):
        yield f"no DAG comes of it: {dag_files.REMEDY}"


def _require_none(problems: Sequence[str]) -> None:
    if problems:
        raise CheckFailed("\n".join(problems))


def telling(output: str) -> str:
    """Return the end of what a process has said, with the user's own lines of its tracebacks only.

    A process that was stopped because it took too long ends with where it was, the latest call first.
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
