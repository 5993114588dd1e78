"""What is read of a compose file."""

from pathlib import Path
from typing import Any

import pytest

from custom.remote.compose import environment_of, find, read
from custom.remote.errors import RemoteError


def service(folder: Path, text: str, name: str = "report") -> dict[str, Any]:
    file = folder / "compose.yml"
    file.write_text(f"services:\n  report:\n    {text}\n  other: {{image: other}}\n")
    return read(file, name)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$SET", "set"),
        ("a${SET}b", "asetb"),
        ("${SET:-no}${SET-no}", "setset"),
        ("${EMPTY:-default}|${EMPTY-default}", "default|"),
        ("${UNSET:-default}|${UNSET-default}|$UNSET", "default|default|"),
        ("${SET:+there}${EMPTY:+there}${EMPTY+there}", "therethere"),
        ("${UNSET:-a-${SET}-b}", "a-set-b"),
        ("$$SET ${SET:?} $1 {{ ds }}", "$SET set $1 {{ ds }}"),
        ("$BESIDE", "of .env"),
    ],
)
def test_variables_are_put_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str) -> None:
    monkeypatch.setenv("SET", "set")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    (tmp_path / ".env").write_text("BESIDE='of .env'\nSET=of .env\n")

    found = service(tmp_path, f"command: [{text!r}]")

    assert found["command"] == [value]


@pytest.mark.parametrize(
    "environment", ["environment: {A: 1, B: two, C: null, D: null}", "environment: [A=1, B=two, C, D]"]
)
def test_an_environment_is_a_map_or_a_list_over_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setenv("C", "from outside")
    monkeypatch.delenv("D", raising=False)
    (tmp_path / "one.env").write_text("A=of one\nE=of one\n")
    (tmp_path / "two.env").write_text("# a comment\nE='of two'\n")
    files = "env_file: [one.env, {path: two.env}, {path: gone.env, required: false}]"

    found = service(tmp_path, f"{files}\n    {environment}")

    assert {name: str(value) for name, value in found["environment"].items()} == {
        "A": "1",
        "B": "two",
        "C": "from outside",
        "E": "of two",
    }


def test_a_single_env_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("A=1\n")
    assert service(tmp_path, "env_file: one.env")["environment"] == {"A": "1"}


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("image: i", "nothing", r"no service nothing: name one that it has, of report, other"),
        ("[]", "report", r"describes no service report"),
        ("extends: other", "report", r"service report extends another.*docker compose config"),
        ("image: ${UNSET:?say which}", "report", r"service report: UNSET is not set: say which"),
        ("env_file: gone.env", "report", r"env_file gone.env is not in"),
        ("image: !reset null", "report", r"cannot be read as a compose file"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str, message: str
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    with pytest.raises(RemoteError, match=message):
        service(tmp_path, text, name)


def test_a_file_without_services_is_refused(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("a list: []")
    with pytest.raises(RemoteError, match="describes no service report"):
        read(tmp_path / "compose.yml", "report")


def test_the_file_is_found_as_compose_finds_it(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"no compose file compose.yaml or .*pass its path as compose_file"):
        find(tmp_path, None)
    for name in ("docker-compose.yml", "compose.yaml"):
        (tmp_path / name).touch()
        assert find(tmp_path, None).name == name
    assert find(Path("/nowhere"), tmp_path / "compose.yaml") == tmp_path / "compose.yaml"
    with pytest.raises(RemoteError, match=r"no compose file other\.yml"):
        find(tmp_path, "other.yml")


def test_a_text_of_an_environment_may_have_signs_of_equality() -> None:
    assert environment_of(["A=b=c", "D="]) == {"A": "b=c", "D": ""}
