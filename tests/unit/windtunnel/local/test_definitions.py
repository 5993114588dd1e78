import json
from pathlib import Path

import pytest

from windtunnel.local import fork_server, processes
from windtunnel.local.definitions import FORK_SERVER
from windtunnel.local.fork_client import SOCKET_VARIABLE
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.errors import StackError

from .conftest import CHOSEN, made


def test_an_airflow_service_gets_what_its_image_and_the_file_would_give_it(stack: ProcessStack) -> None:
    definition = stack._definitions(CHOSEN).of("scheduler", "scheduler")

    run = stack.layout.run
    assert definition["command"] == [f"{run}/root/entrypoint.sh", "scheduler", "--one", "two words"]
    assert definition["folder"] == str(processes.temporary_folder(run, "scheduler"))
    environment = definition["environment"]
    assert environment["TMPDIR"] == definition["folder"]
    assert environment["PATH"].split(":")[0] == str(stack.venvs.python("airflow").parent)
    assert environment["AIRFLOW_HOME"] == f"{run}/root/opt/airflow"
    assert environment["SECRETS_FOLDER"] == f"{run}/root/run/secrets/windtunnel"
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:42"
    assert environment["POSTGRES_ADDRESS"] == "127.0.0.1:43"
    assert (environment["AIRFLOW__API__HOST"], environment["AIRFLOW__API__PORT"]) == ("127.0.0.1", "41")


def test_nothing_is_inherited_from_the_shell(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSTARTUP", "/mine")
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("HOME", "/mine")

    for name in made(root).service_names:
        environment = made(root)._definitions(CHOSEN).of(name, name)["environment"]
        assert not {"PYTHONSTARTUP", "AWS_PROFILE"} & set(environment)
        assert environment["HOME"] != "/mine"
        assert "/mine" not in environment["PATH"]


def test_localstacks_functions_have_their_own_python(stack: ProcessStack) -> None:
    environment = stack._definitions(CHOSEN).of("localstack", "localstack")["environment"]

    assert environment["LAMBDA_RUNTIME_PYTHON"] == str(stack.venvs.python("lambda"))
    assert environment["FILESYSTEM_ROOT"] == f"{stack.layout.run}/root"
    assert environment["GATEWAY_LISTEN"] == "127.0.0.1:42"
    assert environment["INIT"] == f"{stack.layout.run}/root/etc/localstack/init"


def test_postgres_is_told_where_to_listen_after_what_the_file_says(stack: ProcessStack) -> None:
    command = stack._definitions(CHOSEN).of("postgres", "postgres")["command"]

    assert command[1:4] == ["postgres", "-c", "synchronous_commit=off"]
    assert command[4::2] == ["-c"] * len(command[4::2])
    assert set(command[5::2]) >= {"listen_addresses=127.0.0.1", "port=43", "unix_socket_directories="}


@pytest.mark.parametrize(
    ("value", "translated"),
    [
        ("http://webserver:8080/execution/", "http://127.0.0.1:41/execution/"),
        ("localhost:4566", "127.0.0.1:42"),
        ("postgresql://a:b@postgres:5432/airflow", "postgresql://a:b@127.0.0.1:43/airflow"),
        ("postgres:54321", "postgres:54321"),
        ("postgresql://u:p@warehouse.corp:5432/db", "postgresql://u:p@warehouse.corp:5432/db"),
        ("my-postgres:5432", "my-postgres:5432"),
        ("8080", "8080"),
        ("/opt/airflow/dags:/etc/x", "RUN/root/opt/airflow/dags:RUN/root/etc/x"),
        ("cat /run/secrets/it", "cat RUN/root/run/secrets/it"),
        ("arn:aws:s3:::bucket/opt/x", "arn:aws:s3:::bucket/opt/x"),
        ("s3://opt/x", "s3://opt/x"),
        ("/dev/null", "/dev/null"),
    ],
)
def test_addresses_and_paths_of_containers_are_translated(
    stack: ProcessStack, value: str, translated: str
) -> None:
    assert stack._definitions(CHOSEN)._translated(value) == translated.replace("RUN", str(stack.layout.run))


def test_ports_may_change_places(stack: ProcessStack) -> None:
    chosen = {"webserver": 4566, "localstack": 5432, "postgres": 8080}

    assert stack._definitions(chosen)._translated("http://webserver:8080 localstack:4566 postgres:5432") == (
        "http://127.0.0.1:4566 127.0.0.1:5432 127.0.0.1:8080"
    )


def test_another_image_is_refused(root: Path) -> None:
    overlay = root / "overlay.yml"
    overlay.write_text("services: {redis: {image: 'redis:8', environment: {}}}")

    with pytest.raises(StackError, match="the service redis runs the image redis:8") as caught:
        made(root, overlay).up()

    assert "--engine compose" in caught.value.next_step


def test_what_airflows_services_are_forked_from_has_their_environment(running: ProcessStack) -> None:
    """Otherwise none could be forked from it."""
    found = json.loads((running.layout.run / processes.SERVICES).read_text())
    forked, own = found["scheduler"], found[FORK_SERVER]

    assert own["command"][1:] == ["fork-server"]
    assert fork_server.differing(own["environment"], forked["environment"]) == []
    assert own["folder"] == own["environment"]["TMPDIR"] != forked["folder"]
    assert SOCKET_VARIABLE not in found["postgres"]["environment"]


def test_variables_of_env_reach_airflows_services_alone_and_the_stacks_own_win(root: Path) -> None:
    (root / ".env").write_text(
        "LEVEL=debug\nPOSTGRES_ADDRESS=mine\nTHEIRS=localhost:5432\nOURS=http://localstack:4566\nDATA=/opt/data\n"
    )

    found = made(root)._definitions(CHOSEN)

    environment = found.of("scheduler", "scheduler")["environment"]
    assert environment["LEVEL"] == "debug"
    assert environment["POSTGRES_ADDRESS"] == "127.0.0.1:43"
    assert environment["THEIRS"] == "localhost:5432"
    assert environment["OURS"] == "http://127.0.0.1:42"
    assert environment["DATA"] == "/opt/data"
    assert "THEIRS" not in found.of("localstack", "localstack")["environment"]


def test_a_name_without_a_value_has_that_of_the_settings_or_is_not_there(root: Path) -> None:
    above = root / "above.yml"
    above.write_text("services: {scheduler: {environment: {POSTGRES_ADDRESS: , LEVEL: }}}")
    (root / ".env").write_text("LEVEL=debug\n")

    environment = made(root, above)._definitions(CHOSEN).of("scheduler", "scheduler")["environment"]

    assert environment["LEVEL"] == "debug"
    assert "POSTGRES_ADDRESS" not in environment
