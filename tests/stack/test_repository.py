"""What holds for every file of the repository, and for the Dockerfile."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT

DOCKERFILES = [ROOT / "Dockerfile", *sorted(ROOT.glob("[!.]*/**/Dockerfile"))]


def _addresses_of_this_machines_registries() -> set[str]:
    """The hosts that apt, pip and npm use here. No file of the repository names one, this one included."""
    apt = Path("/etc/apt")
    texts = [path.read_text(errors="replace") for path in apt.glob("sources.list*/*")]
    texts += [path.read_text(errors="replace") for path in [apt / "sources.list"] if path.is_file()]
    for command in (["pip", "config", "list"], ["npm", "config", "get", "registry"]):
        if program := shutil.which(command[0]):
            texts.append(
                subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False).stdout
            )
    texts += [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))]
    hosts = {host.rpartition("@")[2] for text in texts for host in re.findall(r"https?://([^/\s'\"]+)", text)}
    # pip's and uv's own default is in their code, not in a setting.
    python = shutil.which("python3") or "python3"
    default = "from pip._internal.models.index import PyPI; print(PyPI.netloc, PyPI.file_storage_domain)"
    answer = subprocess.run([python, "-c", default], capture_output=True, text=True, check=False)
    return hosts | set(answer.stdout.split())


def test_no_registry_is_named(repository_files: list[Path]) -> None:
    """Where packages come from is the machine's business: a mirror, a proxy, or the default."""
    hosts = _addresses_of_this_machines_registries()
    assert hosts

    named = [
        (str(path.relative_to(ROOT)), host)
        for path in repository_files
        for host in hosts
        if host.encode() in path.read_bytes()
    ]
    assert named == []


def test_scripts_are_executable_and_have_unix_line_ends(repository_files: list[Path]) -> None:
    scripts = [path for path in repository_files if path.read_bytes().startswith(b"#!")]

    assert "entrypoint.sh" in {path.name for path in scripts}
    for path in scripts:
        assert os.access(path, os.X_OK), path
        assert b"\r" not in path.read_bytes(), path


def test_git_keeps_unix_line_ends_and_the_executable_bit() -> None:
    entry = subprocess.run(
        ["git", "ls-files", "--stage", "entrypoint.sh"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    # Nothing of it in the index: not committed yet.
    assert entry == "" or entry.startswith("100755 ")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_dockerfiles_pull_no_frontend_and_no_moving_image(path: Path) -> None:
    text = path.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))

    assert not re.search(r"^#\s*syntax\s*=", text, re.MULTILINE | re.IGNORECASE)
    for image in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        # An argument is what offline/images.sh has just built.
        if image not in stages and image != "${BASE}":
            tag = image.rpartition("/")[2].partition(":")[2]
            assert tag not in {"", "latest"}, f"{image} may be another image tomorrow"


def test_stand_in_images_have_the_names_that_are_used() -> None:
    """The one Dockerfile and the one Compose file serve machines with and without a registry."""
    stand_ins = (ROOT / "offline" / "images.sh").read_text()
    bases = re.findall(r"^FROM (\S+:\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pulled = re.findall(r"^\s+image: ([^$\s]+)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)

    assert bases
    assert pulled
    for image in bases + pulled:
        assert image in stand_ins, image


def test_generated_state_is_ignored() -> None:
    ignored = (ROOT / ".gitignore").read_text().split()

    assert {".windtunnel/", "__pycache__/"} <= set(ignored)
