"""offline/postgres/docker-entrypoint.sh run on this machine, with stand-ins for Postgres and for root."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from windtunnel.stack.settings import ROOT

SCRIPT = ROOT / "offline" / "postgres" / "docker-entrypoint.sh"

# Each prints how it was called. Who is root is what ID says: setpriv drops it, unless it is asked for a
# capability that CAPABILITIES does not grant.
PROGRAMS = {
    "initdb": r"""
        while [ $# -gt 0 ]; do
          case $1 in --pwfile) echo "initdb password $(cat "$2")"; shift ;; *) echo "initdb $1" ;; esac
          shift
        done >>"$CALLS"
        echo 17 >"$PGDATA/PG_VERSION"
    """,
    "postgres": r"""
        echo "postgres $*" >>"$CALLS"
        if [ "$1" = --single ]; then cat >>"$CALLS"; fi
    """,
    "id": r'if [ "$*" = -u ]; then echo "$ID"; else echo 65534; fi',
    "chown": r'echo "chown $*" >>"$CALLS"',
    "setpriv": r"""
        options=
        while [ $# -gt 0 ]; do
          case $1 in
            --reuid | --regid) options="$options $1=$2"; shift ;;
            --*) options="$options $1"; [ -n "$CAPABILITIES" ] || [ "${1#*caps=}" = "$1" ] || exit 1 ;;
            *) break ;;
          esac
          shift
        done
        [ "$1" = true ] || echo "setpriv$options" >>"$CALLS"
        ID=65534 exec "$@"
    """,
}

Run = Callable[..., list[str]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


@pytest.fixture
def entrypoint(tmp_path: Path, data: Path) -> Run:
    """Runs the script, as an ordinary user by default; returns what was called, in order."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    calls = tmp_path / "calls"

    def run(*arguments: str, **changes: str) -> list[str]:
        calls.write_text("")
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(calls),
            "PGDATA": str(data),
            "ID": "1000",
            "CAPABILITIES": "all",
            "POSTGRES_USER": "airflow",
            "POSTGRES_PASSWORD": "secret",
        }
        command = [str(SCRIPT), *arguments]
        environment |= changes
        subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True)
        return calls.read_text().splitlines()

    return run


def made(data: Path) -> None:
    """A database that is there."""
    (data / "PG_VERSION").write_text("17\n")


def test_a_fresh_folder_gets_a_database_with_the_password(entrypoint: Run, data: Path) -> None:
    calls = entrypoint("postgres")

    assert calls[-3:] == [
        "postgres --single -j postgres",
        'CREATE DATABASE "airflow";',
        "postgres -c listen_addresses=*",
    ]
    assert "initdb password secret" in calls
    assert (calls.index("initdb --username"), calls.index("initdb airflow")) == (0, 1)
    # From elsewhere nobody gets in without the password.
    assert calls[calls.index("initdb --auth-host") + 1] == "initdb scram-sha-256"
    assert (data / "pg_hba.conf").read_text() == "host all all all scram-sha-256\n"


def test_a_database_that_is_there_is_kept(entrypoint: Run, data: Path) -> None:
    made(data)

    assert entrypoint("postgres") == ["postgres -c listen_addresses=*"]
    assert not (data / "pg_hba.conf").exists()


def test_the_users_options_come_last_and_so_win(entrypoint: Run, data: Path) -> None:
    made(data)

    (call,) = entrypoint("postgres", "-c", "synchronous_commit=off", "-c", "listen_addresses=127.0.0.1")

    assert call == "postgres -c listen_addresses=* -c synchronous_commit=off -c listen_addresses=127.0.0.1"


def test_the_password_may_come_from_a_file(entrypoint: Run, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("of the file")

    calls = entrypoint("postgres", POSTGRES_PASSWORD="", POSTGRES_PASSWORD_FILE=str(file))

    assert "initdb password of the file" in calls


def test_without_a_password_nothing_is_made(entrypoint: Run, data: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        entrypoint("postgres", POSTGRES_PASSWORD="")

    assert "set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE" in caught.value.stderr
    assert list(data.iterdir()) == []


def test_a_database_has_its_users_name_or_its_own(entrypoint: Run, data: Path) -> None:
    assert 'CREATE DATABASE "other";' in entrypoint("postgres", POSTGRES_DB="other")

    (data / "PG_VERSION").unlink()
    # initdb has made that one.
    assert not any("CREATE" in call for call in entrypoint("postgres", POSTGRES_DB="postgres"))


def test_root_becomes_nobody_with_one_right(entrypoint: Run, data: Path) -> None:
    made(data)

    owner, leaving, server = entrypoint("postgres", "-c", "a=b", ID="0")

    assert owner == f"chown -R nobody {data}"
    assert leaving.startswith("setpriv --reuid=nobody --regid=65534 --clear-groups --no-new-privs ")
    rights = [option for option in leaving.split() if "caps=" in option or "bounding-set=" in option]
    assert {option.partition("=")[2] for option in rights} == {"-all,+dac_override"}
    assert len(rights) == 3
    assert server == "postgres -c listen_addresses=* -c a=b"


def test_where_that_right_cannot_be_kept_root_leaves_without_it(entrypoint: Run, data: Path) -> None:
    made(data)

    _, leaving, server = entrypoint("postgres", ID="0", CAPABILITIES="")

    assert leaving == "setpriv --reuid=nobody --regid=65534 --clear-groups --no-new-privs"
    assert server == "postgres -c listen_addresses=*"


def test_root_makes_the_folder_that_is_not_there(entrypoint: Run, data: Path) -> None:
    data.rmdir()

    assert "initdb password secret" in entrypoint("postgres", ID="0")


def test_another_command_is_run_as_it_is(entrypoint: Run, data: Path) -> None:
    assert entrypoint("chown", "it", ID="0") == ["chown it"]
    assert list(data.iterdir()) == []
