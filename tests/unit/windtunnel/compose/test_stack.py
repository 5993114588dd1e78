import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from windtunnel.compose import docker as docker_module
from windtunnel.compose.stack import ComposeStack
from windtunnel.services.probes import DEFINITE
from windtunnel.stack.base import ignore
from windtunnel.stack.errors import ServiceFailed, StackError
from windtunnel.stack.service import Service
from windtunnel.stack.settings import ROOT, Settings

from ..conftest import change
from ..stand_ins.docker import ALL_READY, CONFIGURATION, Docker, answer_stack, container, done


def probe(output: str, *, exit_code: int = 1, start: str = "12:01") -> dict[str, object]:
    return {"Start": start, "ExitCode": exit_code, "Output": output + "\n"}


# The environment that Compose is given


def test_postgres_is_published_only_where_its_port_is_set(compose: ComposeStack, checkout: Path) -> None:
    published = ComposeStack(Settings.of(root=checkout, variables={"POSTGRES_PORT": "0"}))

    assert "COMPOSE_FILE" not in compose.command_variables
    assert published.command_variables["COMPOSE_FILE"] == os.pathsep.join(
        [str(checkout / "docker-compose.yml"), str(checkout / "overlays/postgres-port.yml")]
    )
    assert (ROOT / "overlays/postgres-port.yml").exists()


def test_further_files_lie_over_all_that_compose_reads_by_itself(
    compose: ComposeStack, checkout: Path
) -> None:
    (checkout / "docker-compose.override.yml").touch()
    files = (
        ComposeStack(Settings.of(root=checkout, overlays=[Path("/more.yml")]))
        .command_variables["COMPOSE_FILE"]
        .split(os.pathsep)
    )

    assert [Path(file).name for file in files] == [
        "docker-compose.yml",
        "docker-compose.override.yml",
        "more.yml",
    ]


def test_a_named_compose_file_is_kept(compose: ComposeStack, checkout: Path) -> None:
    named = ComposeStack(
        Settings.of(root=checkout, overlays=[Path("/more.yml")], variables={"COMPOSE_FILE": "mine.yml"})
    )

    assert named.command_variables["COMPOSE_FILE"] == os.pathsep.join(
        [str(checkout / "mine.yml"), "/more.yml"]
    )


def test_another_env_file_fills_in_the_compose_file_and_is_not_dockers_own_environment(
    checkout: Path, tmp_path: Path
) -> None:
    (tmp_path / "own.env").write_text("DOCKER_HOST=tcp://far.test\nHTTP_PROXY=http://proxy.test\n")
    settings = Settings.of(root=checkout, variables={"ENV_FILE": str(tmp_path / "own.env")})

    variables = ComposeStack(settings).command_variables

    assert variables["COMPOSE_ENV_FILES"] == str(tmp_path / "own.env")
    assert "far.test" not in variables.get("DOCKER_HOST", "")
    assert "proxy.test" not in variables.get("HTTP_PROXY", "")


def test_builds_trust_what_the_machine_trusts(checkout: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.touch()

    assert ComposeStack(
        Settings.of(root=checkout, variables={"SSL_CERT_FILE": str(bundle)})
    ).command_variables["CA_BUNDLE"] == str(bundle)
    own = ComposeStack(
        Settings.of(root=checkout, variables={"SSL_CERT_FILE": str(bundle), "CA_BUNDLE": "/mine"})
    )
    assert own.command_variables["CA_BUNDLE"] == "/mine"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Docker has a machine of its own")
def test_an_overlay_is_told_of_dockers_socket_and_its_group(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own.sock", tmp_path / "other.sock"
    for path in (own, other):
        path.touch()
    group = str(own.stat().st_gid)

    def variables(**given: str) -> dict[str, str]:
        found = ComposeStack(Settings.of(root=checkout, variables=given)).command_variables
        return {name: found[name] for name in ("DOCKER_SOCKET", "DOCKER_GID") if name in found}

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(docker_module, "DEFAULT_SOCKET", str(own))
    assert variables() == {"DOCKER_GID": group}
    assert variables(DOCKER_HOST=f"unix://{other}") == {"DOCKER_SOCKET": str(other), "DOCKER_GID": group}
    assert variables(DOCKER_SOCKET=str(own), DOCKER_GID="7") == {"DOCKER_SOCKET": str(own), "DOCKER_GID": "7"}
    assert variables(DOCKER_SOCKET="/nowhere") == {"DOCKER_SOCKET": "/nowhere"}
    assert variables(DOCKER_HOST="tcp://far.test") == {"DOCKER_GID": group}


# What there is


def test_a_failing_command_says_what_failed_and_how(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose config", code=14, errors="no such file\n")

    with pytest.raises(StackError) as caught:
        _ = compose.project

    assert "reading the compose file failed (exit code 14)" in caught.value.what
    assert caught.value.output == "no such file"
    assert "Correct the compose file" in str(caught.value)


def test_without_docker_it_says_so(compose: ComposeStack) -> None:
    change(compose, PATH="/nowhere")

    with pytest.raises(StackError, match="there is no command `docker`"):
        compose.services()


def test_services_come_in_start_order_whether_they_have_a_container_or_not(
    compose: ComposeStack, docker: Docker
) -> None:
    answer_stack(docker, [container("webserver")])

    services = compose.services()

    assert [service.name for service in services] == [
        "init",
        "localstack",
        "postgres",
        "webserver",
        "scheduler",
    ]
    assert [service.name for service in services if service.state == "running"] == ["webserver"]


def test_port_and_address(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose port webserver 8080", "127.0.0.1:49155\n")
    docker.answers("compose port postgres 5432", "127.0.0.1:49156\n")

    assert compose.address("webserver") == "http://127.0.0.1:49155"
    assert compose.address("postgres") == "127.0.0.1:49156"


def test_an_unpublished_port_is_an_error(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose port postgres 5432", ":0\n")

    with pytest.raises(StackError, match="the port of postgres is not published"):
        compose.port("postgres")


def test_login(compose: ComposeStack, docker: Docker) -> None:
    docker.answers(
        "compose exec --no-TTY webserver python -m windtunnel.services.answers login", '["admin", "secret"]'
    )

    assert compose.login() == ("admin", "secret")


def test_what_docker_says_of_a_container(compose: ComposeStack, docker: Docker) -> None:
    failing = container("webserver", health="unhealthy", probe=probe("no answer", start="12:01"))
    answer_stack(docker, [failing | {"RestartCount": 3}, done("init", exit_code=2)])

    services = {service.name: service for service in compose.services()}

    assert services["webserver"] == Service(
        "webserver",
        id="id-webserver",
        state="running",
        health="unhealthy",
        started_at="11:00",
        restarts=3,
        probed_at="12:01",
        health_output="no answer",
    )
    assert services["init"].one_shot
    assert services["init"].exit_code == 2
    assert services["postgres"] == Service("postgres")


def test_the_environment_of_a_service_is_that_of_the_compose_file(compose: ComposeStack) -> None:
    assert compose.variables("localstack")["AWS_DEFAULT_REGION"] == "ap-southeast-2"
    assert compose.variables("webserver") == {}


# Starting


def test_up_waits_until_all_is_ready(compose: ComposeStack, docker: Docker) -> None:
    starting = [done("init"), container("postgres"), container("localstack", health="starting")]
    answer_stack(docker, [], starting, ALL_READY)
    docker.answers("compose up", "")
    lines: list[str] = []

    compose.up(lines.append)

    assert [line.split()[:2] for line in lines] == [
        ["init", "done"],
        ["localstack", "starting"],
        ["postgres", "healthy"],
        ["localstack", "healthy"],
        ["webserver", "healthy"],
        ["scheduler", "healthy"],
    ]
    assert "compose up --detach --no-build --remove-orphans" in docker.calls


def test_up_names_a_service_that_ends_and_shows_its_log(compose: ComposeStack, docker: Docker) -> None:
    ended = container("webserver", status="restarting", health="", exit_code=2)
    answer_stack(
        docker,
        [],
        [done("init"), container("postgres"), container("localstack"), ended, container("scheduler")],
    )
    docker.answers("compose up", holds=True)

    with pytest.raises(ServiceFailed) as caught:
        compose.up()

    assert caught.value.service == "webserver"
    assert caught.value.what == "webserver ended with exit code 2"
    assert caught.value.output == "the last line"
    assert "./windtunnel logs webserver" in caught.value.next_step


def test_up_does_not_wait_for_what_waiting_cannot_help(compose: ComposeStack, docker: Docker) -> None:
    broken = container("localstack", health="starting", probe=probe("no such bucket", exit_code=DEFINITE))
    answer_stack(docker, [], [done("init"), container("postgres"), broken, container("webserver")])
    docker.answers("compose up", holds=True)

    with pytest.raises(ServiceFailed, match="localstack is not healthy: no such bucket") as caught:
        compose.up()

    # The reason is all there is to say; a log would only bury it.
    assert caught.value.output == ""


def test_up_does_not_mind_that_containers_are_replaced(compose: ComposeStack, docker: Docker) -> None:
    others = [found for found in ALL_READY if found["Id"] != "id-webserver"]
    stopped = container("webserver", status="exited", exit_code=143)
    renewed = {"id": "id-new", "started": "12:30"}
    starting = container("webserver", health="starting", **renewed)
    answer_stack(
        docker,
        ALL_READY,
        ALL_READY,  # Compose has not come to it yet
        [*others, stopped],
        [*others, starting],
        [*others, container("webserver", **renewed)],
    )
    docker.answers("compose up", holds=True)
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        docker.release()

    compose.up(on_line)

    assert [line.split()[:2] for line in lines] == [["webserver", "starting"], ["webserver", "healthy"]]


def test_up_reports_composes_own_failure(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose up", code=1, errors="port is already allocated\n")

    with pytest.raises(StackError) as caught:
        compose.up()

    assert caught.value.output == "port is already allocated"


def test_build_shows_its_output_and_ends_with_the_last_of_it(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("image inspect", "sha256:1")
    docker.answers("compose --progress plain build", "".join(f"line {n}\n" for n in range(100)), code=1)
    lines: list[str] = []

    with pytest.raises(StackError) as caught:
        compose.get_parts(ignore, lines.append)

    assert len(lines) == 100
    assert caught.value.output.splitlines()[-1] == "line 99"
    assert len(caught.value.output.splitlines()) < 20


# Afterwards


def test_down_deletes_data_only_when_asked(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose down", "")
    docker.answers("ps --all --quiet", "")

    compose.down()
    compose.down(volumes=True)

    assert [call for call in docker.calls if call.startswith(("compose down", "rm"))] == [
        "compose down --remove-orphans",
        "compose down --remove-orphans --volumes --timeout 0",
    ]


def test_down_removes_what_services_have_made_and_then_the_network(
    compose: ComposeStack, docker: Docker
) -> None:
    docker.answers("compose down", "")
    docker.answers("rm --force --volumes one two", "")
    docker.answers("ps --all --quiet", "one\ntwo\n")

    compose.down()

    assert [call for call in docker.calls if call.startswith(("compose down", "rm"))] == [
        "compose down --remove-orphans",
        "rm --force --volumes one two",
        "compose down --remove-orphans",
    ]


def test_exec_hands_secrets_over_by_standard_input(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose exec --no-TTY webserver cat", "answer")

    assert compose.exec("webserver", "cat", stdin="secret") == "answer"
    assert not any("secret" in call for call in docker.calls)


def test_a_command_in_a_service_hands_over_its_lines(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose exec --no-TTY localstack python -m it", "one\ntwo\n")
    lines: list[str] = []

    compose.run_in("localstack", "python", "-m", "it", on_line=lines.append, what="it", next_step="")
    assert lines == ["one", "two"]

    docker.answers("compose exec --no-TTY localstack python -m it", "three\n", code=1)
    with pytest.raises(StackError, match=r"it failed \(exit code 1\)\nthree\nMend it."):
        compose.run_in(
            "localstack", "python", "-m", "it", on_line=lines.append, what="it", next_step="Mend it."
        )


def test_logs_are_shown_as_compose_shows_them(compose: ComposeStack, docker: Docker) -> None:
    docker.answers("compose logs", "\x1b[2Kinit-1  | one\n")
    lines: list[str] = []

    compose.show_logs(None, follow=False, tail=None, on_line=lines.append)
    compose.show_logs("init", follow=True, tail=0, on_line=lines.append)

    assert lines == ["init-1  | one"] * 2
    assert docker.calls[-2:] == ["compose logs", "compose logs --follow --tail 0 init"]


def test_write_logs_makes_a_file_of_each_service(
    compose: ComposeStack, docker: Docker, tmp_path: Path
) -> None:
    docker.answers("compose logs", "\x1b[2Kone\n\x1b[2Ktwo\n")

    compose.write_logs(tmp_path / "evidence")

    files = {path.name: path.read_text() for path in (tmp_path / "evidence").iterdir()}
    assert sorted(files) == ["init.log", "localstack.log", "postgres.log", "scheduler.log", "webserver.log"]
    assert files["scheduler.log"] == "one\ntwo\n"


def test_where_the_usual_port_is_taken_docker_chooses_one(
    compose: ComposeStack, docker: Docker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("windtunnel.stack.ports.is_taken", lambda port: port == 4566)
    monkeypatch.setattr("windtunnel.stack.ports.process_on", lambda _: "nginx (process 1)")
    change(compose, WEBSERVER_PORT="", LOCALSTACK_PORT="")

    assert compose._chosen_ports(said.append) == {"LOCALSTACK_PORT": "0"}

    assert said == ["port 4566 is in use by nginx (process 1): localstack takes another"]

    # Our own stack has it.
    docker.answers("ps --filter publish=4566", "tunnel-localstack-1 tunnel\n")
    assert compose._chosen_ports(said.append) == {}


# Overlays


def test_replicas_are_told_apart(docker: Docker, checkout: Path) -> None:
    stack = ComposeStack(replace(Settings.of(root=checkout), scale={"webserver": 2}))
    number = "com.docker.compose.container-number"
    found = [container("webserver", id=f"web-{n}") for n in (2, 1)] + [container("scheduler")]
    for n, one in zip((2, 1, 1), found, strict=True):
        one["Config"]["Labels"][number] = str(n)
    answer_stack(docker, found)
    docker.answers("stats", "web-1 1MiB / 2GiB\nweb-2 0B / 0B\nid-scheduler 2MiB / 2GiB\n")

    running = [service.label for service in stack.services() if service.state == "running"]

    assert running == ["webserver-1", "webserver-2", "scheduler"]
    assert stack.memory() == {"webserver-1": 2**20, "webserver-2": 0, "scheduler": 2**21}


def test_a_service_that_is_to_have_no_replica_is_not_missing(
    compose: ComposeStack, docker: Docker, monkeypatch: pytest.MonkeyPatch
) -> None:
    services: Any = CONFIGURATION["services"]
    services = {**services, "heavy-worker": {"scale": 0}}
    monkeypatch.setattr(ComposeStack, "configuration", {**CONFIGURATION, "services": services})
    answer_stack(docker, ALL_READY)

    assert "heavy-worker" not in [service.name for service in compose.services()]
    wanted = ComposeStack(replace(compose.settings, scale={"heavy-worker": 1}))
    assert "heavy-worker" in [service.name for service in wanted.services()]


def test_up_asks_compose_for_replicas(docker: Docker, checkout: Path) -> None:
    variables = {"WEBSERVER_PORT": "0", "LOCALSTACK_PORT": "0"}
    stack = ComposeStack(replace(Settings.of(root=checkout, variables=variables), scale={"scheduler": 2}))
    docker.answers("compose up", "")
    answer_stack(docker, ALL_READY)

    stack.up()

    assert "compose up --detach --no-build --remove-orphans --scale=scheduler=2" in docker.calls
