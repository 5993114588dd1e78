import os
from pathlib import Path
from typing import Any

import pytest

from windtunnel.compose import resources
from windtunnel.compose.stack import ComposeStack

from ..stand_ins.docker import Docker


@pytest.fixture
def healthy(compose: ComposeStack, docker: Docker) -> ComposeStack:
    docker.answers("info", f"{8 * resources.GIB} /nowhere\n")
    docker.answers("image inspect", "sha256:1")
    return compose


def mounted(path: Path, user: str | None) -> dict[str, Any]:
    service: dict[str, Any] = {"volumes": [{"type": "bind", "source": str(path)}, {"type": "volume"}]}
    return {"services": {"it": service | ({"user": user} if user else {})}}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder as a careless umask leaves it: the owner alone may read one file."""
    tree = tmp_path / "private" / "dags"
    tree.mkdir(parents=True)
    # What lies above a mounted folder is of no account.
    tree.parent.chmod(0o700)
    tree.chmod(0o755)
    (tree / "dag.py").touch()
    (tree / "dag.py").chmod(0o600)
    return tree


@pytest.mark.parametrize("user", ["50000:50000", None])
def test_a_file_that_the_containers_user_cannot_read_is_found(
    tree: Path, monkeypatch: pytest.MonkeyPatch, user: str | None
) -> None:
    # Whoever runs this test may have the number of the real one.
    monkeypatch.setattr(resources, "LOCALSTACK_USER", (50001, 50001))

    (finding,) = resources.unreadable(mounted(tree, user))

    assert finding.problem == f"{tree / 'dag.py'} is not readable by the user of it"
    assert finding.remedy == f"chmod -R a+rX {tree / 'dag.py'}"


def test_owner_and_group_are_told_apart(tree: Path) -> None:
    me, my_group = os.getuid(), (tree / "dag.py").stat().st_gid
    assert list(resources.unreadable(mounted(tree, f"{me}:99"))) == []
    assert len(list(resources.unreadable(mounted(tree, f"50000:{my_group}")))) == 1

    (tree / "dag.py").chmod(0o640)
    assert list(resources.unreadable(mounted(tree, f"50000:{my_group}"))) == []


def test_so_are_the_groups_that_a_service_has_beside_its_own(tree: Path) -> None:
    (tree / "dag.py").chmod(0o640)
    service = mounted(tree, "50000:99")
    assert len(list(resources.unreadable(service))) == 1

    service["services"]["it"]["group_add"] = [str((tree / "dag.py").stat().st_gid)]
    assert list(resources.unreadable(service)) == []


def test_a_closed_folder_is_named_once_for_all_its_services(tree: Path) -> None:
    tree.chmod(0o700)
    configuration = mounted(tree, "50000:99")
    configuration["services"]["other"] = configuration["services"]["it"]

    (finding,) = resources.unreadable(configuration)

    assert finding.problem == f"{tree} is not readable by the user of it, other"


def test_a_user_known_to_the_image_alone_is_not_judged(tree: Path) -> None:
    assert list(resources.unreadable(mounted(tree, "postgres"))) == []


def test_too_little_memory(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("info", f"{2 * resources.GIB} /nowhere\n")

    (finding,) = resources.findings(healthy)

    assert finding.problem == "Docker has 2.0 GiB of memory; the stack wants 4"


def test_too_little_room(healthy: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "LEAST_DISK", 10**18)

    (finding,) = resources.findings(healthy)

    assert f"GiB are free at {healthy.root}" in finding.problem


def test_an_image_that_is_neither_here_nor_at_a_registry(healthy: ComposeStack, docker: Docker) -> None:
    docker.answers("image inspect", code=1)
    docker.answers("manifest inspect postgres:17", code=1)
    docker.answers("manifest inspect python", "{}")

    (finding,) = resources.findings(healthy)

    assert finding.problem == "the image postgres:17 is missing, and no registry has it for us"
