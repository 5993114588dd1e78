from pathlib import Path

import pytest

from windtunnel.stack import checkout
from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import ROOT


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package: modules, and what it brings along."""
    package = tmp_path / "site-packages" / "windtunnel"
    along = package / "checkout"
    (along / "offline").mkdir(parents=True)
    (package / "module.py").write_text("# a module\n")
    (along / "docker-compose.yml").write_text("services: {}\n")
    (along / "entrypoint.sh").write_text("#!/bin/sh\n")
    (along / "offline" / "images.sh").write_text("#!/bin/sh\n")
    monkeypatch.setattr(checkout, "ROOT", tmp_path / "site-packages" / "..")
    monkeypatch.setattr(checkout, "BROUGHT_ALONG", along)
    return package


def test_in_a_checkout_it_is_the_checkout(tmp_path: Path) -> None:
    assert checkout.stack_root(tmp_path / "state") == ROOT
    assert not (tmp_path / "state").exists()


def test_a_package_is_laid_out_as_a_checkout(package: Path, tmp_path: Path) -> None:
    root = checkout.stack_root(tmp_path / "state")

    assert root == tmp_path / "state" / "checkout"
    assert (root / "docker-compose.yml").read_text() == "services: {}\n"
    assert (root / "src" / "windtunnel" / "module.py").exists()
    assert not (root / "src" / "windtunnel" / "checkout").exists()
    for script in ("entrypoint.sh", "offline/images.sh"):
        assert (root / script).stat().st_mode & 0o111


def test_it_is_laid_out_once_for_each_version(package: Path, tmp_path: Path) -> None:
    root = checkout.stack_root(tmp_path / "state")
    (root / "mark").touch()

    checkout.stack_root(tmp_path / "state")
    assert (root / "mark").exists()

    (package / "module.py").write_text("# another version\n")
    checkout.stack_root(tmp_path / "state")
    assert not (root / "mark").exists()
    assert (root / "src" / "windtunnel" / "module.py").read_text() == "# another version\n"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["checkout"]


def test_a_checkout_works_on_itself_wherever_it_is_called() -> None:
    assert checkout.repository_of(Path("/")) is None


@pytest.mark.usefixtures("package")
def test_a_package_works_on_the_repository_that_it_is_called_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "My Flows.2"
    (repository / "dags" / "below").mkdir(parents=True)
    # A tool's own file below the repository says nothing of Windtunnel.
    (repository / "dags" / "pyproject.toml").write_text("[tool.ruff]\n")
    (repository / "pyproject.toml").write_text('[tool.windtunnel]\nengine = "local"\nwith = ["celery"]\n')
    monkeypatch.setenv("WINDTUNNEL_WITH", "emr")
    monkeypatch.delenv("WINDTUNNEL_ENGINE", raising=False)
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)

    found = checkout.repository_of(repository / "dags" / "below")

    assert found is not None
    place = checkout.place(found)
    assert place["project"] == "myflows2"
    assert place["state_folder"] == repository / ".windtunnel"
    assert place["root"] == repository / ".windtunnel" / "checkout"
    assert place["variables"]["DAGS_FOLDER"] == str(repository / "dags")
    assert place["variables"]["WINDTUNNEL_ENGINE"] == "local"
    assert "WINDTUNNEL_WITH" not in place["variables"], "the variable of this process does not win"


@pytest.mark.usefixtures("package")
def test_a_package_outside_of_a_repository_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"neither .* has a pyproject.toml with \[tool.windtunnel\]"):
        checkout.repository_of(tmp_path)
