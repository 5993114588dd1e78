import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Thread

import pytest

from windtunnel.local import venvs
from windtunnel.local.stack import ProcessStack
from windtunnel.local.venvs import Venvs
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import Settings

from ..conftest import change
from .uv import Uv

NAMES = ["postgres", "lambda", "localstack", "airflow"]


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> Uv:
    uv = Uv()
    monkeypatch.setattr(venvs, "uv", uv)
    return uv


@pytest.fixture
def stack(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ProcessStack:
    (checkout / "locks").mkdir()
    for name in (*NAMES, "test"):
        (checkout / "locks" / f"{name}.txt").write_text(f"{name}==1 \\\n    --hash=sha256:00\n")
    (checkout / "requirements.txt").touch()
    (checkout / "emulator/src/it").mkdir(parents=True)
    (checkout / "emulator/pyproject.toml").touch()
    (checkout / "emulator/src/it/__init__.py").touch()
    stack = ProcessStack(Settings.of(root=checkout))
    # The Python that it would run was made by uv.
    monkeypatch.setattr(stack, "run", lambda *_, **__: "")
    return stack


@pytest.fixture
def installed(stack: ProcessStack, uv: Uv) -> Venvs:
    stack.venvs.install(lambda _: None)
    uv.calls.clear()
    return stack.venvs


@pytest.mark.parametrize(
    ("file", "concerns"),
    [
        ("locks/airflow.txt", "airflow"),
        ("requirements.txt", "airflow"),
        ("locks/localstack.txt", "localstack"),
        ("emulator/pyproject.toml", "localstack"),
        ("emulator/src/it/__init__.py", "localstack"),
        ("locks/lambda.txt", "lambda"),
        ("locks/postgres.txt", "postgres"),
    ],
)
def test_a_changed_file_makes_its_venv_again_and_no_other(
    installed: Venvs, checkout: Path, uv: Uv, file: str, concerns: str
) -> None:
    assert installed.missing() == []
    with (checkout / file).open("a") as changed:
        changed.write("# changed\n")

    said: list[str] = []
    assert installed.missing() == [concerns]
    installed.install(said.append)

    assert said == [f"installing {concerns}"]
    assert installed.missing() == []


def test_another_python_makes_all_again(installed: Venvs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/another")

    assert installed.missing() == NAMES


def test_other_requirements_are_noticed(installed: Venvs, stack: ProcessStack, checkout: Path) -> None:
    (checkout / "more.txt").write_text("six\n")
    change(stack, REQUIREMENTS_FILE="more.txt")

    assert installed.missing() == ["airflow"]


def test_requirements_that_are_not_there_are_named(installed: Venvs, stack: ProcessStack) -> None:
    change(stack, REQUIREMENTS_FILE="gone.txt")

    with pytest.raises(StackError, match=r"gone\.txt cannot be read"):
        installed.missing()


def test_what_is_there_is_not_installed_again(installed: Venvs, uv: Uv) -> None:
    said: list[str] = []
    installed.install(said.append)

    assert (uv.calls, said) == ([], [])


def test_only_what_is_wanted_is_installed(stack: ProcessStack, uv: Uv) -> None:
    said: list[str] = []
    stack.venvs.install(said.append, ("lambda",))

    assert said == ["installing lambda"]
    assert stack.venvs.missing(("lambda",)) == []
    assert stack.venvs.missing() == ["postgres", "localstack", "airflow"]


def test_every_package_of_a_lock_is_checked_against_its_hash(stack: ProcessStack, uv: Uv) -> None:
    stack.venvs.install(lambda _: None)
    stack.venvs.install_test_tools()

    for name in (*NAMES, "test"):
        (call,) = uv.about(f"locks/{name}.txt")
        assert "--require-hashes" in call
    for name in ("lambda", "localstack", "airflow"):
        (venv,) = [call for call in uv.about(f"venvs/{name}") if call.startswith("venv")]
        assert venv == f"venv --python {sys.executable} {stack.venvs.folder / name}"


def test_the_users_requirements_must_agree_with_the_lock(stack: ProcessStack, uv: Uv, checkout: Path) -> None:
    requirements = checkout / "requirements.txt"
    requirements.write_text("six\n")

    stack.venvs.install(lambda _: None)

    (call,) = uv.about("requirements.txt")
    assert f"--constraints {checkout}/locks/airflow.txt" in call


def test_without_requirements_nothing_more_is_asked_for(
    installed: Venvs, stack: ProcessStack, uv: Uv
) -> None:
    installed.folder.joinpath("airflow", venvs.FINGERPRINT).unlink()

    installed.install(lambda _: None)

    assert uv.about("requirements.txt") == []


def test_requirements_are_resolved_against_the_lock_without_an_installation(
    stack: ProcessStack, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    (checkout / "requirements.txt").write_text("six\n")
    resolved: list[str] = []

    def resolve(*arguments: str | Path, settings: Mapping[str, str]) -> None:
        words = list(map(str, arguments))
        assert words[:2] == ["pip", "compile"]
        assert words[words.index("--constraints") + 1] == f"{checkout}/locks/airflow.txt"
        resolved.append(Path(words[-1]).read_text())

    monkeypatch.setattr(venvs, "uv", resolve)
    stack.venvs.require_resolvable()

    assert resolved == ["six\n"]
    assert not stack.venvs.folder.exists()


def test_requirements_that_are_installed_do_resolve(installed: Venvs, uv: Uv, checkout: Path) -> None:
    installed.require_resolvable()
    assert uv.calls == []

    (checkout / "requirements.txt").write_text("nosuch\n")
    uv.fails_at = "requirements.txt"
    with pytest.raises(StackError, match="uv failed"):
        installed.require_resolvable()


def test_requirements_that_do_not_resolve_leave_what_is_installed_as_it_is(
    installed: Venvs, uv: Uv, checkout: Path
) -> None:
    part = installed.folder / "airflow" / "part"
    part.touch()

    (checkout / "requirements.txt").write_text("nosuch\n")
    uv.fails_at = "requirements.txt"
    with pytest.raises(StackError, match="uv failed"):
        installed.install(lambda _: None)
    (checkout / "requirements.txt").write_text("")

    assert part.exists()
    assert installed.missing() == []


@pytest.mark.usefixtures("uv")
def test_localstacks_index_is_made_in_its_venv(stack: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[tuple[str, ...], Mapping[str, str]]] = []

    def run(*command: str, env: Mapping[str, str], **_: str) -> str:
        made.append((command, env))
        return ""

    monkeypatch.setattr(stack, "run", run)

    stack.venvs.install(lambda _: None)

    ((command, environment),) = made
    assert command == (str(stack.venvs.python("localstack")), "-m", "localstack.aws.spec")
    root = Path(environment["FILESYSTEM_ROOT"])
    assert root / venvs.LOCALSTACK_LIBRARY.lstrip("/") == stack.venvs.service_index
    assert stack.venvs.service_index.is_dir()


@pytest.mark.parametrize("fails_at", ["venv", "pip sync", "requirements.txt"])
def test_a_failed_installation_leaves_no_fingerprint(
    installed: Venvs, checkout: Path, uv: Uv, fails_at: str
) -> None:
    (checkout / "requirements.txt").write_text("nosuch\n")
    uv.fails_at = fails_at

    with pytest.raises(StackError, match="uv failed"):
        installed.install(lambda _: None)

    assert installed.missing() == ["airflow"]

    uv.fails_at = ""
    installed.install(lambda _: None)
    assert installed.missing() == []


def test_nothing_stays_of_what_was_installed_before(installed: Venvs, checkout: Path, uv: Uv) -> None:
    lock = checkout / "locks/postgres.txt"
    before = lock.read_text()
    old = installed.folder / "postgres" / "old.so"
    old.touch()

    # Neither a file, nor a fingerprint that fits again when the lock is put back.
    lock.write_text("postgres==2\n")
    uv.fails_at = "postgres.txt"
    with pytest.raises(StackError, match="uv failed"):
        installed.install(lambda _: None)
    lock.write_text(before)

    assert not old.exists()
    assert installed.missing() == ["postgres"]


def test_of_two_installations_at_the_same_time_one_waits_for_the_other(stack: ProcessStack, uv: Uv) -> None:
    said: list[str] = []
    second = Thread(target=stack.venvs.install, args=(said.append,))

    def in_the_first(_: str) -> None:
        if not second.ident:
            second.start()

    stack.venvs.install(in_the_first)
    second.join()

    assert said == [], "it found all of it done"
    assert len(uv.about("locks/airflow.txt")) == 1


def test_tools_for_tests_are_apart(installed: Venvs, stack: ProcessStack, uv: Uv) -> None:
    installed.install_test_tools()
    installed.install_test_tools()

    (call,) = uv.about("locks/test.txt")
    assert f"--target {installed.test_tools}" in call
    command, environment = stack.test_command("airflow", ["-m", "pytest"], ["emulator/src"])
    assert command == [str(installed.python("airflow")), "-m", "pytest"]
    first, *_, last = environment["PYTHONPATH"].split(":")
    assert (Path(first).name, last) == ("src", str(installed.test_tools))
    assert environment["LAMBDA_RUNTIME_PYTHON"] == str(installed.python("lambda"))
    # Tests write nothing into a home folder of Airflow that someone uses.
    assert Path(environment["AIRFLOW_HOME"]).is_relative_to(installed.folder)
