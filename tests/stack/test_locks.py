"""The lock files: complete, hashed, and in step with what they were made from."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from windtunnel.compose import ROOT

LOCKS = ROOT / "locks"
NAMES = sorted(path.stem for path in LOCKS.glob("*.in"))


def entries(path: Path) -> list[str]:
    """The requirements of a file, one a string, its hashes included; comments are left out."""
    joined = path.read_text().replace("\\\n", " ")
    return [entry for line in joined.splitlines() if (entry := re.sub(r"(^|\s)#.*", "", line).strip())]


def requirement(entry: str) -> Requirement:
    return Requirement(entry.partition(" --hash=")[0])


def test_every_lock_has_its_source_and_the_other_way_round() -> None:
    assert NAMES
    assert sorted(path.stem for path in LOCKS.glob("*.txt")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_package_has_one_version_and_a_hash(name: str) -> None:
    for entry in entries(LOCKS / f"{name}.txt"):
        assert re.search(r" --hash=sha256:[0-9a-f]{64}\b", entry), entry[:80]
        assert [specifier.operator for specifier in requirement(entry).specifier] == ["=="], entry[:80]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_asked_for_is_locked(name: str) -> None:
    locked = {
        canonicalize_name(found.name): found for found in map(requirement, entries(LOCKS / f"{name}.txt"))
    }
    for entry in entries(LOCKS / f"{name}.in"):
        wanted = Requirement(entry)
        found = locked.get(canonicalize_name(wanted.name))
        assert found is not None, f"{wanted.name} is not in {name}.txt: run locks/compile {name}"
        (version,) = (specifier.version for specifier in found.specifier)
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted} is locked as {version}"


def test_what_the_dockerfile_installs_is_locked() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert set(re.findall(r"locks/(\w+)\.txt", dockerfile)) >= {"airflow", "localstack", "lambda", "uv"}
    for line in re.findall(r".*pip (?:install|sync).*", dockerfile):
        # The user's own requirements carry no hashes, and our own package comes from this checkout.
        assert "--require-hashes" in line or "requirements.txt" in line or "/emulator" in line, line


def test_the_client_is_of_the_servers_version() -> None:
    versions = {
        lock: {found.name: str(found.specifier) for found in map(requirement, entries(LOCKS / f"{lock}.txt"))}
        for lock in ("airflow", "dev")
    }

    assert versions["dev"]["apache-airflow-client"] == versions["airflow"]["apache-airflow-core"]


def test_the_compile_script_knows_every_lock() -> None:
    script = (LOCKS / "compile").read_text()
    default = re.search(r"\$\{@:-([a-z ]+)\}", script)

    assert default is not None
    assert sorted(default[1].split()) == NAMES
    assert (
        subprocess.run([shutil.which("bash") or "bash", "-n", LOCKS / "compile"], check=False).returncode == 0
    )
