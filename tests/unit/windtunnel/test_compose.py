import json
import os
from pathlib import Path

import pytest

from windtunnel.compose import POSTGRES_OVERLAY, Compose, ComposeError, Service, ServiceFailed
from windtunnel.health import DEFINITE

from .conftest import ALL_READY, Docker, container, done, stack


def probe(output: str, *, exit_code: int = 1, start: str = "12:01") -> dict[str, object]:
    return {"Start": start, "ExitCode": exit_code, "Output": output + "\n"}


# The environment that Compose is given


def test_the_environment_goes_before_the_file_and_both_before_nothing(checkout: Path) -> None:
    (checkout / ".env").write_text("# ports\nWEBSERVER_PORT = '81'\nLOCALSTACK_PORT=82\n")
    compose = Compose(root=checkout, environment={"WEBSERVER_PORT": "80"})

    assert compose.setting("WEBSERVER_PORT") == "80"
    assert compose.setting("LOCALSTACK_PORT") == "82"
    assert compose.setting("NO_SUCH_SETTING") == ""


def test_postgres_is_published_only_where_its_port_is_set(compose: Compose, checkout: Path) -> None:
    published = Compose(root=checkout, environment={"POSTGRES_PORT": "0"})

    assert "COMPOSE_FILE" not in compose.environment
    assert published.environment["COMPOSE_FILE"] == os.pathsep.join(
        [str(checkout / "docker-compose.yml"), str(POSTGRES_OVERLAY)]
    )
    assert POSTGRES_OVERLAY.exists()


def test_further_files_lie_over_all_that_compose_reads_by_itself(compose: Compose, checkout: Path) -> None:
    (checkout / "docker-compose.override.yml").touch()
    files = Compose(root=checkout, files=[Path("/more.yml")]).environment["COMPOSE_FILE"].split(os.pathsep)

    assert [Path(file).name for file in files] == [
        "docker-compose.yml",
        "docker-compose.override.yml",
        "more.yml",
    ]


def test_a_named_compose_file_is_kept(compose: Compose, checkout: Path) -> None:
    named = Compose(root=checkout, files=[Path("/more.yml")], environment={"COMPOSE_FILE": "mine.yml"})

    assert named.environment["COMPOSE_FILE"] == os.pathsep.join(["mine.yml", "/more.yml"])


def test_builds_trust_what_the_machine_trusts(checkout: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.crt"
    bundle.touch()

    assert Compose(root=checkout, environment={"SSL_CERT_FILE": str(bundle)}).environment["CA_BUNDLE"] == str(
        bundle
    )
    own = Compose(root=checkout, environment={"SSL_CERT_FILE": str(bundle), "CA_BUNDLE": "/mine"})
    assert own.environment["CA_BUNDLE"] == "/mine"


# What there is


def test_a_failing_command_says_what_failed_and_how(compose: Compose, docker: Docker) -> None:
    docker.answers("compose config", code=14, errors="no such file\n")

    with pytest.raises(ComposeError) as caught:
        _ = compose.project

    assert "reading the compose file failed (exit code 14)" in caught.value.what
    assert caught.value.output == "no such file"
    assert "Correct the compose file" in str(caught.value)


def test_without_docker_it_says_so(compose: Compose) -> None:
    compose.environment["PATH"] = "/nowhere"

    with pytest.raises(ComposeError, match="there is no command `docker`"):
        compose.services()


def test_services_come_in_start_order_whether_they_have_a_container_or_not(
    compose: Compose, docker: Docker
) -> None:
    stack(docker, [container("webserver")])

    services = compose.services()

    assert [service.name for service in services] == [
        "init",
        "localstack",
        "postgres",
        "webserver",
        "scheduler",
    ]
    assert [service.name for service in services if service.state == "running"] == ["webserver"]


@pytest.mark.parametrize(
    ("service", "ready", "failed", "summary"),
    [
        (Service("s", state="running", health="healthy"), True, "", "healthy"),
        (Service("s", state="running", health="starting"), False, "", "starting"),
        (
            Service("s", state="running", health="unhealthy", health_output="no heartbeat"),
            False,
            "is not healthy: no heartbeat",
            "unhealthy",
        ),
        (
            Service("s", state="running", health="starting", definite=True, health_output="seeding failed"),
            False,
            "is not healthy: seeding failed",
            "starting",
        ),
        (Service("s", state="restarting", exit_code=2), False, "ended with exit code 2", "restarting"),
        (Service("s", state="exited", exit_code=0), False, "ended with exit code 0", "exited with code 0"),
        (Service("s", state="exited", one_shot=True), True, "", "done"),
        (Service("s", state="running", one_shot=True), False, "", "running"),
        (
            Service("s", state="exited", one_shot=True, exit_code=1),
            False,
            "ended with exit code 1",
            "exited with code 1",
        ),
        (Service("s"), False, "", "absent"),
    ],
)
def test_state(service: Service, ready: bool, failed: str, summary: str) -> None:
    assert (service.ready, service.failed, service.summary) == (ready, failed, summary)


def test_port_and_address(compose: Compose, docker: Docker) -> None:
    docker.answers("compose port webserver 8080", "127.0.0.1:49155\n")
    docker.answers("compose port postgres 5432", "127.0.0.1:49156\n")

    assert compose.address("webserver") == "http://127.0.0.1:49155"
    assert compose.address("postgres") == "127.0.0.1:49156"


def test_an_unpublished_port_is_an_error(compose: Compose, docker: Docker) -> None:
    docker.answers("compose port postgres 5432", ":0\n")

    with pytest.raises(ComposeError, match="port 5432 of postgres is not published"):
        compose.port("postgres", 5432)


def test_login(compose: Compose, docker: Docker) -> None:
    docker.answers("compose exec --no-TTY webserver cat", json.dumps({"admin": "secret"}))

    assert compose.login() == ("admin", "secret")


# Starting


def test_up_waits_until_all_is_ready(compose: Compose, docker: Docker) -> None:
    starting = [done("init"), container("postgres"), container("localstack", health="starting")]
    stack(docker, [], starting, ALL_READY)
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


def test_up_names_a_service_that_ends_and_shows_its_log(compose: Compose, docker: Docker) -> None:
    ended = container("webserver", status="restarting", health="", exit_code=2)
    stack(
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


def test_up_does_not_wait_for_what_waiting_cannot_help(compose: Compose, docker: Docker) -> None:
    broken = container("localstack", health="starting", probe=probe("no such bucket", exit_code=DEFINITE))
    stack(docker, [], [done("init"), container("postgres"), broken, container("webserver")])
    docker.answers("compose up", holds=True)

    with pytest.raises(ServiceFailed, match="localstack is not healthy: no such bucket") as caught:
        compose.up()

    # The reason is all there is to say; a log would only bury it.
    assert caught.value.output == ""


def test_up_lets_start_what_does_not_depend_on_the_failed_one(compose: Compose, docker: Docker) -> None:
    broken = container("localstack", health="starting", probe=probe("bad", exit_code=DEFINITE))
    created = container("webserver", status="created", health="", started="")
    first = [done("init"), container("postgres"), broken, created]
    stack(docker, [], first, [*first[:3], container("webserver")])
    docker.answers("compose up", holds=True)
    lines: list[str] = []

    with pytest.raises(ServiceFailed, match="localstack"):
        compose.up(lines.append)

    assert [line.split()[0] for line in lines][-1] == "webserver"


def test_up_does_not_believe_a_health_check_from_before(compose: Compose, docker: Docker) -> None:
    # GIVEN a running stack whose last probe has failed, and that has been mended since
    old = probe("import error", exit_code=DEFINITE, start="11:59")
    others = [found for found in ALL_READY if found["Id"] != "id-webserver"]
    before = [*others, container("webserver", health="unhealthy", probe=old)]
    stack(docker, before, before, ALL_READY)
    docker.answers("compose up", "")

    # WHEN it is started again THEN that old answer is no failure
    compose.up()


def test_up_does_not_mind_that_containers_are_replaced(compose: Compose, docker: Docker) -> None:
    others = [found for found in ALL_READY if found["Id"] != "id-webserver"]
    stopped = container("webserver", status="exited", exit_code=143)
    renewed = {"id": "id-new", "started": "12:30"}
    starting = container("webserver", health="starting", **renewed)
    stack(
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


def test_up_reports_composes_own_failure(compose: Compose, docker: Docker) -> None:
    docker.answers("compose up", code=1, errors="port is already allocated\n")

    with pytest.raises(ComposeError) as caught:
        compose.up()

    assert caught.value.output == "port is already allocated"


def test_up_names_what_is_late(compose: Compose, docker: Docker) -> None:
    late = container("scheduler", health="starting", probe=probe("no heartbeat yet"))
    stack(docker, [], [*ALL_READY[:-1], late])
    docker.answers("compose up", "")

    with pytest.raises(ServiceFailed, match=r"scheduler is not ready after 0\.1 s: no heartbeat yet"):
        compose.up(timeout=0.1)


def test_build_shows_its_output_and_ends_with_the_last_of_it(compose: Compose, docker: Docker) -> None:
    docker.answers("compose --progress plain build", "".join(f"line {n}\n" for n in range(100)), code=1)
    lines: list[str] = []

    with pytest.raises(ComposeError) as caught:
        compose.build(lines.append)

    assert len(lines) == 100
    assert caught.value.output.splitlines()[-1] == "line 99"
    assert len(caught.value.output.splitlines()) < 20


# Afterwards


def test_down_deletes_data_only_when_asked(compose: Compose, docker: Docker) -> None:
    docker.answers("compose down", "")

    compose.down()
    compose.down(volumes=True)

    assert docker.calls[-2:] == ["compose down --remove-orphans", "compose down --remove-orphans --volumes"]


def test_exec_hands_secrets_over_by_standard_input(compose: Compose, docker: Docker) -> None:
    docker.answers("compose exec --no-TTY webserver cat", "answer")

    assert compose.exec("webserver", "cat", stdin="secret") == "answer"
    assert not any("secret" in call for call in docker.calls)


def test_write_logs_makes_a_file_of_each_service(compose: Compose, docker: Docker, tmp_path: Path) -> None:
    docker.answers("compose logs", "\x1b[2Kone\n\x1b[2Ktwo\n")

    compose.write_logs(tmp_path / "evidence")

    files = {path.name: path.read_text() for path in (tmp_path / "evidence").iterdir()}
    assert sorted(files) == ["init.log", "localstack.log", "postgres.log", "scheduler.log", "webserver.log"]
    assert files["scheduler.log"] == "one\ntwo\n"
