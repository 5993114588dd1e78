"""What is checked without a stack; functions run for real, in place of Airflow there is a script."""

import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from windtunnel.local.stack import ProcessStack
from windtunnel.local.venvs import Venvs
from windtunnel.pytest_plugin.static_checks import checks
from windtunnel.pytest_plugin.static_checks.checks import (
    Check,
    CheckFailed,
    Checks,
    CheckSkipped,
    problems_of,
    telling,
)
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import ROOT, Settings

from ...stand_ins.package_index import make_wheel

HANDLER = "def lambda_handler(event, context): pass\n"

# In place of what asks Airflow: says what it sees.
AIRFLOW = """
import json, os, sys
from pathlib import Path
print("a user's line")
home = Path(os.environ["AIRFLOW_HOME"])
seen = {
    "variables": dict(os.environ),
    "custom": [sorted(path.name for path in Path(place, "custom").iterdir()) for place in sys.path[:2]],
    "config": (home / "config" / "airflow.cfg").exists(),
}
Path(SEEN).write_text(json.dumps(seen))
answer = {"seconds": 0.1, "errors": [], "dag_ids": ["a"], "makes_dags": True, "imports": []}
print(json.dumps({os.path.join(sys.argv[2], "a.py"): answer}))
"""


class Repository:
    """A user's repository, and what was asked of its environments."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        for name in ("dags", "lambdas", "custom"):
            (path / name).mkdir()
        self.requirements = path / "requirements.txt"
        self.requirements.touch()
        self.installed: list[str] = []
        # Names of environments that cannot be installed.
        self.broken: Collection[str] = ()
        # What the resolver says.
        self.conflict = ""
        monkeypatch.setattr(Venvs, "install", self._install)
        monkeypatch.setattr(Venvs, "require_resolvable", self._require_resolvable)

    def _install(self, say: Callable[[str], None], names: Collection[str]) -> None:
        self.installed += [name for name in names if name not in self.installed]
        if set(names) & set(self.broken):
            raise StackError("the network is away")

    def _require_resolvable(self) -> None:
        if self.conflict:
            raise StackError("uv failed", self.conflict, "What to do next.")

    def function(self, name: str, source: str, **settings: Any) -> None:
        folder = self.path / "lambdas" / name
        folder.mkdir()
        (folder / "lambda_function.py").write_text(source)
        (folder / "function.json").write_text(json.dumps(settings))

    def find(self) -> dict[str, Check]:
        """The checks, by subject and fact."""
        settings = {
            "DAGS_FOLDER": str(self.path / "dags"),
            "LAMBDAS_FOLDER": str(self.path / "lambdas"),
            "CUSTOM_FOLDER": str(self.path / "custom"),
            "REQUIREMENTS_FILE": str(self.requirements),
            "UV_DEFAULT_INDEX": (self.path / "index").as_uri(),
            "UV_CACHE_DIR": str(self.path / "uv"),
        }
        stack = ProcessStack(
            Settings.of("check", settings, root=ROOT, state_folder=self.path / ".windtunnel")
        )
        found = Checks(stack, self.path).find(lambda _: None)
        return {f"{check.subject} {check.fact}": check for check in found}

    def failure(self, name: str) -> str:
        """What a check that fails says."""
        with pytest.raises((CheckFailed, StackError)) as raised:
            self.find()[name].require()
        return str(raised.value)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    # The harness's Python has boto3, too, which is all that functions of these tests need of theirs.
    python = Path(sys.executable)
    monkeypatch.setattr(Venvs, "python", lambda *_: python)
    return Repository(tmp_path, monkeypatch)


@pytest.fixture
def airflow(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Puts a script in the place of Airflow; what it has seen."""
    (repository.path / "dags" / "a.py").touch()
    seen = repository.path / "seen.json"

    def run(script: str = AIRFLOW) -> dict[str, Any]:
        inside = repository.path / "inside.py"
        inside.write_text(script.replace("SEEN", repr(str(seen))))
        monkeypatch.setattr(checks, "INSIDE", inside)
        repository.find()
        return dict(json.loads(seen.read_text())) if seen.exists() else {}

    return run


# Functions


def test_a_function_is_imported_as_on_lambda(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "real")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://real.test")
    monkeypatch.setenv("LEAK", "1")
    repository.function(
        "count_words",
        """
import os
from pathlib import Path

import boto3
from airflow_relay import relay
from helper import HELP

folder = Path(os.environ["LAMBDA_TASK_ROOT"])
assert Path.cwd() == folder == Path(__file__).parent
assert os.environ["OWN"] == "1"
assert os.environ["AWS_LAMBDA_FUNCTION_NAME"] == "count"
assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
assert boto3.client("s3").meta.region_name == os.environ["AWS_REGION"]
assert not {"AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "LEAK"} & set(os.environ)
print("a function may print")

@relay
def go(event, context): pass
""",
        FunctionName="count",
        Handler="lambda_function.go",
        Environment={"Variables": {"OWN": "1"}},
    )
    (repository.path / "lambdas/count_words/helper.py").write_text("HELP = 1\n")

    repository.find()["lambdas/count_words imports"].require()

    assert repository.installed == ["lambda"]
    assert [path.name for path in (repository.path / "lambdas/count_words").glob("__pycache__")] == []
    assert list((repository.path / ".windtunnel").iterdir()) == []


@pytest.mark.parametrize("module", ["other", "airflow_test", "seeding"])
def test_a_function_sees_neither_another_nor_what_lies_beside_the_library_or_the_check(
    repository: Repository, module: str
) -> None:
    repository.function("other", HANDLER)
    repository.function("mine", f"import {module}\n{HANDLER}")

    assert f"No module named '{module}'" in repository.failure("lambdas/mine imports")


def test_a_function_that_cannot_be_imported_shows_its_own_lines(repository: Repository) -> None:
    repository.function("bad", f"import json\njson.loads('{{')\n{HANDLER}")

    said = repository.failure("lambdas/bad imports").splitlines()

    file = repository.path / "lambdas/bad/lambda_function.py"
    assert said[0] == "Traceback (most recent call last):"
    assert said[1] == f'  File "{file}", line 2, in <module>'
    assert [line for line in said if "File" in line] == [said[1]]
    assert said[-1].startswith("json.decoder.JSONDecodeError: ")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import os\n", "does not define lambda_handler"),
        ("def lambda_handler(\n", "line 1: '(' was never closed"),
        (f"import sys\nsys.exit(0)\n{HANDLER}", "SystemExit: 0"),
        (f"import os\nos._exit(3)\n{HANDLER}", "its process has ended with exit code 3"),
        (f"import os\nos.kill(os.getpid(), 9)\n{HANDLER}", "its process has ended with signal 9"),
        (f"{HANDLER}del lambda_handler\n", "has no attribute 'lambda_handler'"),
    ],
)
def test_what_else_is_wrong_with_a_function(repository: Repository, source: str, said: str) -> None:
    repository.function("bad", source)

    assert said in repository.failure("lambdas/bad imports")


def test_a_function_that_would_not_be_deployed_fails(repository: Repository) -> None:
    repository.function("bad", HANDLER)
    (repository.path / "lambdas/bad/link").symlink_to("/etc")

    assert "is a link to /etc, which is outside of lambdas/" in repository.failure("lambdas/bad imports")


def test_a_function_that_does_not_come_to_an_end(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "INIT_TIMEOUT", 1)
    repository.function("bad", f"import threading\nthreading.Event().wait()\n{HANDLER}", Timeout=1)

    said = repository.failure("lambdas/bad imports").splitlines()

    assert said[0] == "Timeout (0:00:01)!"
    assert f'{repository.path}/lambdas/bad/lambda_function.py", line 2' in said[2]


@pytest.mark.parametrize("said", ["", "NameError: name 'nosuch' is not defined"])
def test_a_thread_of_a_function_is_not_waited_for(repository: Repository, said: str) -> None:
    thread = "import threading\nthreading.Thread(target=threading.Event().wait).start()\n"
    repository.function("threaded", f"{HANDLER}{thread}{'nosuch' if said else ''}\n", Timeout=1)

    if said:
        assert said in repository.failure("lambdas/threaded imports")
    else:
        repository.find()["lambdas/threaded imports"].require()


def test_two_functions_of_one_name(repository: Repository) -> None:
    repository.function("one", HANDLER, FunctionName="same")
    repository.function("two", HANDLER, FunctionName="same")

    assert "lambdas/two: lambdas/one is the function same too" in repository.failure("lambdas/two imports")
    repository.find()["lambdas/one imports"].require()


def test_a_function_has_what_it_requires_and_what_its_layers_have(repository: Repository) -> None:
    make_wheel(repository.path, "first")
    make_wheel(repository.path, "second")
    layers = repository.path / "lambdas/layers"
    (layers / "own/python").mkdir(parents=True)
    (layers / "own/python/mine.py").write_text("import os\nVARIABLES = dict(os.environ)\n")
    (layers / "bought").mkdir()
    (layers / "bought/requirements.txt").write_text("second\n")
    source = f"import first, mine, second\nassert mine.VARIABLES['LD_LIBRARY_PATH']\n{HANDLER}"
    repository.function("needs", source, Layers=["own", "bought"])
    repository.function("alone", f"import second\n{HANDLER}")
    (repository.path / "lambdas/needs/requirements.txt").write_text("first\n")

    found = repository.find()

    for name in ("needs imports", "layers/own installs", "layers/bought installs"):
        found[f"lambdas/{name}"].require()
    assert "No module named 'second'" in repository.failure("lambdas/alone imports")


def test_requirements_and_layers_that_would_not_be_deployed_fail(repository: Repository) -> None:
    make_wheel(repository.path, "first")
    layers = repository.path / "lambdas/layers"
    (layers / "empty").mkdir(parents=True)
    repository.function("typo", HANDLER)
    (repository.path / "lambdas/typo/requirements.txt").write_text("first\nfrist\n")
    repository.function("layered", HANDLER, Layers=["nothing"])

    assert "lambdas/typo/requirements.txt, line 2: " in repository.failure("lambdas/typo imports")
    assert "there is no layer nothing" in repository.failure("lambdas/layered imports")
    assert "neither python/ nor requirements.txt" in repository.failure("lambdas/layers/empty installs")


def test_what_links_lead_to_is_there_in_the_check_too(repository: Repository) -> None:
    shared = repository.path / "lambdas/_shared"
    shared.mkdir()
    (shared / "texts.py").write_text("TEXT = 1\n")
    repository.function("linked", f"from shared.texts import TEXT\n{HANDLER}")
    (repository.path / "lambdas/linked/shared").symlink_to("../_shared")

    repository.find()["lambdas/linked imports"].require()


def test_what_a_layer_has_cannot_be_told(repository: Repository) -> None:
    layer = "arn:aws:lambda:ap-southeast-2:000000000000:layer:it:1"
    repository.function("layered", f"import from_layer\n{HANDLER}", Layers=[layer])

    with pytest.raises(CheckSkipped, match="No module named 'from_layer'"):
        repository.find()["lambdas/layered imports"].require()


def test_without_the_functions_python_each_says_so(repository: Repository) -> None:
    repository.function("good", HANDLER)
    repository.broken = ["lambda"]

    assert repository.failure("lambdas/good imports") == "the network is away"


def test_nothing_is_installed_for_what_is_not_there(repository: Repository) -> None:
    assert repository.find() == {}
    assert repository.installed == []


# Requirements


@pytest.mark.usefixtures("airflow")
@pytest.mark.parametrize("content", ["", "# none\n\n"])
def test_of_no_requirements_nothing_is_said(
    repository: Repository, airflow: Callable[..., object], content: str
) -> None:
    repository.requirements.write_text(content)
    airflow()

    assert list(repository.find()) == ["dags/a.py parses"]


def test_requirements_that_resolve(repository: Repository, airflow: Callable[..., object]) -> None:
    repository.requirements.write_text("six\n")
    airflow()

    for check in (found := repository.find()).values():
        check.require()
    assert list(found) == ["requirements.txt resolves", "dags/a.py parses"]


@pytest.mark.usefixtures("airflow")
def test_requirements_that_do_not_resolve(repository: Repository) -> None:
    repository.requirements.write_text("boto3==1.20\n")
    repository.conflict = "because you require boto3==1.20"
    repository.function("good", HANDLER)

    assert repository.failure("requirements.txt resolves").splitlines() == [
        "does not resolve beside Airflow's own packages, or the package index cannot be reached:",
        repository.conflict,
        "What to do next.",
    ]
    assert "requirements.txt does not resolve" in repository.failure("dags parses")
    # There is no Airflow to be had with them.
    assert repository.installed == ["lambda"]
    repository.find()["lambdas/good imports"].require()


# DAG files


def test_airflow_sees_the_repository_as_on_the_stack(
    repository: Repository, airflow: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository.path / "custom" / "own.py").touch()
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AIRFLOW__CORE__PARALLELISM", "LEAK"):
        monkeypatch.setenv(name, "https://real.test")

    seen = airflow()

    own, ours = seen["custom"]
    assert own == ["own.py"]
    assert "operators" in ours
    assert seen["config"]
    assert seen["variables"]["AIRFLOW__CORE__DAGS_FOLDER"] == str(repository.path / "dags")
    aws = {name: value for name, value in seen["variables"].items() if name.startswith("AWS_")}
    assert aws == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_DEFAULT_REGION": "ap-southeast-2",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    assert "real.test" not in json.dumps(seen)
    # Its database and its home are below the state, and gone.
    home = Path(seen["variables"]["HOME"])
    state = repository.path / ".windtunnel"
    assert state in home.parents
    assert seen["variables"]["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].startswith(f"sqlite:///{state}/")
    assert not home.exists()
    assert repository.installed == ["airflow"]


def test_an_airflow_that_does_not_start(repository: Repository, airflow: Callable[..., object]) -> None:
    airflow("raise ValueError('its settings')\n")

    said = repository.failure("dags parses")

    assert "before any DAG file was parsed" in said
    assert said.endswith("ValueError: its settings")


@pytest.mark.usefixtures("airflow")
def test_without_airflows_environment_no_dag_file_is_called_good(repository: Repository) -> None:
    repository.broken = ["airflow"]

    assert repository.failure("dags parses") == "the network is away"


def answer(*dag_ids: str, **values: Any) -> dict[str, Any]:
    """What comes of a good file; ``values`` change that."""
    good = {"seconds": 1.0, "errors": [], "dag_ids": list(dag_ids), "makes_dags": True, "imports": []}
    return {**good, **values}


@pytest.mark.parametrize(
    "answers",
    [
        {"a": answer("one"), "b": answer("two", "three")},
        {"a": answer("one", seconds=5.0)},
        {"helper": answer(makes_dags=False)},
        {"factory": answer(), "a": answer("one", imports=["factory"])},
    ],
)
def test_files_with_which_nothing_is_wrong(answers: dict[str, Any]) -> None:
    assert problems_of(answers, 5) == {file: [] for file in answers}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"errors": ["NameError: x"], "dag_ids": []}, ["NameError: x"]),
        ({"seconds": 5.04}, ["takes 5.0 s; its time budget is 5 s (dag_time_budget)"]),
        ({"dag_ids": []}, ["no DAG comes of it"]),
        ({"dag_ids": [], "imports": ["other"]}, ["no DAG comes of it"]),
        ({"errors": ["first", "second"], "seconds": 9.0}, ["first", "second", "takes 9.0 s"]),
    ],
)
def test_files_with_which_something_is(values: dict[str, Any], said: list[str]) -> None:
    (problems,) = problems_of({"a": answer("one", **values)}, 5).values()

    assert len(problems) == len(said)
    for problem, begin in zip(problems, said, strict=True):
        assert problem.startswith(begin)


def test_a_file_whose_process_has_ended() -> None:
    problems = problems_of({"a": {"ended": -11, "output": "last words\n"}, "b": answer("one")}, 5)

    assert problems == {"a": ["its process has ended with signal 11:\nlast words"], "b": []}


def test_one_id_in_two_files_is_named_in_both() -> None:
    problems = problems_of({"a": answer("one", "two"), "b": answer("two"), "c": answer("three")}, 5)

    assert problems["a"] == ["the DAG two is also in b: give one of them another id"]
    assert problems["b"] == ["the DAG two is also in a: give one of them another id"]
    assert problems["c"] == []


# What is shown of what a process has said


def test_of_a_traceback_only_the_users_lines_are_shown() -> None:
    own = '  File "/repository/dags/a.py", line 3, in <module>\n    client.call()\n    ~~~~~~~~~~~^^'
    library = '  File "/environments/airflow/lib/site-packages/x.py", line 9, in call\n    raise Bad(\n    )'
    frozen = '  File "<frozen importlib._bootstrap>", line 488, in _call'
    output = (
        f"Traceback (most recent call last):\n{frozen}\n{own}\n{library}\nBad: words\n    of more lines\n"
    )

    assert telling(output) == f"Traceback (most recent call last):\n{own}\nBad: words\n    of more lines"


def test_of_much_the_end_is_shown_and_of_a_stopped_process_where_it_was() -> None:
    lines = [f"line {number}" for number in range(100)]

    assert telling("\n".join(lines)) == "\n".join(lines[-15:])
    assert telling("\n".join([*lines, "Timeout (0:00:50)!", *lines])).splitlines() == [
        "Timeout (0:00:50)!",
        *lines[:14],
    ]
