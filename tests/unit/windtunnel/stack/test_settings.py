from pathlib import Path

import pytest

from windtunnel.stack.errors import StackError
from windtunnel.stack.settings import PLUGINS_VERSION, PORTS, Settings

from ..conftest import updated


def test_variables_go_before_the_file_and_both_before_nothing(checkout: Path) -> None:
    (checkout / ".env").write_text("# ports\nWEBSERVER_PORT = '81'\nLOCALSTACK_PORT=82\n")
    settings = Settings.of(root=checkout, variables={"WEBSERVER_PORT": "80"})

    assert settings.get("WEBSERVER_PORT") == "80"
    assert settings.get("LOCALSTACK_PORT") == "82"
    assert settings.get("NO_SUCH_SETTING") == ""


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("WEBSERVER_PORT=8081 # mine", "8081"),
        ("export WEBSERVER_PORT=8081", "8081"),
        ('WEBSERVER_PORT="8081"  # mine', "8081"),
        ("WEBSERVER_PORT='a # b'", "a # b"),
        ("WEBSERVER_PORT=a=b", "a=b"),
        ("#WEBSERVER_PORT=8081", ""),
    ],
)
def test_the_file_is_read_as_compose_reads_it(checkout: Path, line: str, value: str) -> None:
    (checkout / ".env").write_text(f"{line}\n")

    assert Settings.of(root=checkout).get("WEBSERVER_PORT") == value


def test_a_variable_that_is_empty_is_set(checkout: Path) -> None:
    (checkout / ".env").write_text("WEBSERVER_PORT=81\n")

    assert Settings.of(root=checkout, variables={"WEBSERVER_PORT": ""}).get("WEBSERVER_PORT") == ""


def test_a_named_project_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "another")

    assert Settings.of("mine").project == "mine"
    assert Settings.of().project == "another"


@pytest.mark.parametrize(("folder", "project"), [("My.Tunnel", "mytunnel"), ("_-a b", "ab")])
def test_the_project_has_the_name_that_compose_gives_it(tmp_path: Path, folder: str, project: str) -> None:
    assert Settings.of(root=tmp_path / folder).project == project


def test_a_folder_that_makes_no_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="'___' makes no project name"):
        _ = Settings.of(root=tmp_path / "___").project


def test_folders_are_those_that_are_set_or_the_checkouts(checkout: Path, tmp_path: Path) -> None:
    variables = {"DAGS_FOLDER": str(tmp_path / "mine"), "CUSTOM_FOLDER": "other"}
    settings = Settings.of(root=checkout, variables=variables)

    assert settings.folder("DAGS_FOLDER") == tmp_path / "mine"
    assert settings.folder("CUSTOM_FOLDER") == checkout / "other"
    assert settings.folder("LAMBDAS_FOLDER") == checkout / "lambdas"


@pytest.mark.parametrize("setting", ["", "more.txt", "~/more.txt"])
def test_requirements_are_read_from_the_set_file(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setenv("HOME", str(checkout))
    for name in ("requirements.txt", "more.txt"):
        (checkout / name).touch()

    found = Settings.of(root=checkout, variables={"REQUIREMENTS_FILE": setting}).requirements_file()

    assert found == checkout / (Path(setting).name or "requirements.txt")


def test_requirements_that_cannot_be_read_are_named(checkout: Path) -> None:
    settings = Settings.of(root=checkout, variables={"REQUIREMENTS_FILE": "gone.txt"})

    message = f"REQUIREMENTS_FILE {checkout}/gone.txt cannot be read: No such file"
    with pytest.raises(StackError, match=message):
        settings.requirements_file()


def test_the_compose_files_are_those_that_compose_reads(checkout: Path) -> None:
    settings = Settings.of(root=checkout)
    assert settings.compose_files() == [checkout / "docker-compose.yml"]

    override = checkout / "docker-compose.override.yml"
    override.touch()
    assert settings.compose_files() == [checkout / "docker-compose.yml", override]

    named = updated(settings, COMPOSE_FILE="a.yml:/b.yml")
    assert named.compose_files() == [checkout / "a.yml", Path("/b.yml")]


def test_postgres_is_published_if_its_port_is_set(checkout: Path) -> None:
    overlay = checkout / "overlays" / "postgres-port.yml"
    settings = Settings.of(root=checkout, variables={PORTS["postgres"].setting: "0"}, overlays=[overlay])

    assert settings.compose_files()[1:] == [overlay]


def test_every_file_of_the_plugins_is_part_of_their_version(tmp_path: Path) -> None:
    """Services are started again when it changes; a plugin may read a template beside it."""
    plugins = tmp_path / "plugins"
    (plugins / "__pycache__").mkdir(parents=True)

    def version() -> str:
        return Settings.of("tunnel", root=tmp_path).for_compose[PLUGINS_VERSION]

    versions = [version()]
    for name in (".gitkeep", "plugin.py", "template.html", "__pycache__/plugin.pyc"):
        (plugins / name).touch()
        versions.append(version())

    nothing, hidden, plugin, template, bytecode = versions
    assert nothing == hidden == ""
    assert len({nothing, plugin, template}) == 3
    assert template == bytecode
