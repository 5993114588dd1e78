"""What Compose makes of docker-compose.yml: as it is, with each variable set, with each overlay."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from windtunnel.stack.settings import ROOT

# They need the command `docker`, though no engine.
pytestmark = pytest.mark.engine("compose")

COMPOSE_FILE = ROOT / "docker-compose.yml"
DOCKER_OVERLAY = ROOT / "overlays" / "docker.yml"
OVERLAYS = sorted((ROOT / "overlays").glob("*.yml"))

# The services that users may rely on, by their names.
PROMISED_VARIABLES = {
    "WEBSERVER_PORT",
    "LOCALSTACK_PORT",
    "DAGS_FOLDER",
    "CUSTOM_FOLDER",
    "LAMBDAS_FOLDER",
    "CONFIG_FOLDER",
    "PARALLELISM",
}
AIRFLOW_SERVICES = {"init", "webserver", "scheduler", "dag-processor", "triggerer"}
SERVICES = AIRFLOW_SERVICES | {"postgres", "localstack"}
# Run to their end and are gone: nothing is left to be healthy.
ONE_SHOTS = {"init"}

# A value with a user and a password before a host, or a setting that by its name holds one.
SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|FERNET|_KEY$|KEY_ID$|SQL_ALCHEMY_CONN")
SECRET_VALUE = re.compile(r"://[^/\s]*:[^/\s]*@")
# Where a secret can be read, and not the secret itself.
SECRET_PLACE = re.compile(r"(_FILE|_FOLDER|_CMD|_SECRET)$")
DUMMY_KEYS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    # Of what has no database.
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://none@localhost/none",
}


def variables(*files: Path) -> set[str]:
    """The environment variables that Compose puts into the files."""
    named = re.findall(r"(?<!\$)\$\{?([A-Z][A-Z_]*)", "\n".join(path.read_text() for path in files))
    return set(named) - {"COMPOSE_PROJECT_NAME"}


def required(file: Path) -> set[str]:
    """The variables without which Compose refuses the file."""
    return set(re.findall(r"\$\{([A-Z_]+):\?", file.read_text()))


def needed(overlay: Path) -> list[Path]:
    """The overlays that come with another one."""
    names = yaml.safe_load(overlay.read_text()).get("x-windtunnel", {}).get("needs", [])
    return [overlay.with_name(f"{name}.yml") for name in ([names] if isinstance(names, str) else names)]


# The checkout may have an .env, which is not to be tested.
NO_ENV_FILE = {"ENV_FILE": os.devnull}


def compose_config(files: list[Path], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    arguments = [argument for path in files for argument in ("--file", str(path))]
    ours = variables(COMPOSE_FILE, *OVERLAYS)
    return subprocess.run(
        [
            "docker",
            "compose",
            "--env-file",
            os.devnull,
            "--project-directory",
            ROOT,
            *arguments,
            "--profile",
            "*",
            "config",
            "--format",
            "json",
        ],
        env={name: value for name, value in os.environ.items() if name not in ours}
        | NO_ENV_FILE
        | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _cases() -> dict[str, tuple[list[Path], set[str]]]:
    cases: dict[str, tuple[list[Path], set[str]]] = {"as it is": ([COMPOSE_FILE], set())}
    cases |= {name: ([COMPOSE_FILE], {name}) for name in sorted(variables(COMPOSE_FILE))}
    for overlay in OVERLAYS:
        files = [COMPOSE_FILE, *needed(overlay), overlay]
        least = required(overlay)
        cases[overlay.name] = (files, least)
        optional = variables(overlay) - least
        cases |= {f"{overlay.name} {name}": (files, least | {name}) for name in sorted(optional)}
    return cases


CASES = _cases()


def value_for(name: str, folder: Path) -> str:
    """A value that a user may give to the variable, different from its default."""
    if name.endswith("_PORT"):
        return "0"
    if name.endswith("_GRACE"):
        return "90s"
    path = folder / name.lower()
    if name.endswith("_FOLDER"):
        path.mkdir()
    else:
        path.touch()
    return str(path)


@pytest.fixture(scope="module")
def plain_config() -> str:
    return compose_config([COMPOSE_FILE], {}).stdout


@pytest.fixture(scope="module", params=CASES, ids=list(CASES))
def config(
    request: pytest.FixtureRequest, plain_config: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    files, names = CASES[request.param]
    folder = tmp_path_factory.mktemp("values")
    answer = compose_config(files, {name: value_for(name, folder) for name in names})
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == "", "Compose has a warning about the files"
    if request.param != "as it is":
        assert answer.stdout != plain_config, f"{request.param} has no effect"
    loaded: dict[str, Any] = json.loads(answer.stdout)
    return loaded


@pytest.fixture
def services(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = config["services"]
    return found


def test_has_the_services_and_variables_of_the_design(services: dict[str, Any]) -> None:
    assert set(services) >= SERVICES
    assert variables(COMPOSE_FILE) >= PROMISED_VARIABLES


def test_overlays_are_not_needed_for_the_stack() -> None:
    answer = compose_config([COMPOSE_FILE], {})

    assert set(json.loads(answer.stdout)["services"]) == SERVICES


def test_published_ports_are_on_the_loopback_interface(services: dict[str, Any]) -> None:
    open_to_all = [
        (name, port)
        for name, service in services.items()
        for port in service.get("ports", [])
        if port.get("host_ip") not in {"127.0.0.1", "::1"}
    ]

    assert open_to_all == []


def test_only_web_page_and_emulator_are_published() -> None:
    services = json.loads(compose_config([COMPOSE_FILE], {}).stdout)["services"]

    published = {
        name: {(port["target"], port["published"]) for port in service["ports"]}
        for name, service in services.items()
        if service.get("ports")
    }
    assert published == {"webserver": {(8080, "8080")}, "localstack": {(4566, "4566")}}


def test_no_service_can_control_docker_or_the_host(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert not service.get("privileged"), name
        assert not service.get("cap_add"), name
        assert not service.get("devices"), name
        for namespace in ("network_mode", "pid", "ipc", "userns_mode", "cgroup"):
            assert service.get(namespace) != "host", (name, namespace)
        # One is made for that, and comes with its overlay alone.
        assert "docker.sock" not in json.dumps(service) or name == "docker-agent", name


def test_the_service_with_dockers_socket_has_nothing_else_to_hand_out() -> None:
    files = [COMPOSE_FILE, *needed(DOCKER_OVERLAY), DOCKER_OVERLAY]
    service = json.loads(compose_config(files, {"DOCKER_GID": "105"}).stdout)["services"]["docker-agent"]

    assert service["group_add"] == ["105"]
    assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges"])
    # No DAG, no plugin, nothing of the user's own; no secret; no port.
    assert {volume["target"] for volume in service["volumes"]} == {
        "/entrypoint.sh",
        "/opt/windtunnel/windtunnel",
        "/var/run/docker.sock",
        "/var/lib/windtunnel",
    }
    assert not service.get("env_file")
    assert not service.get("ports")


def test_no_mount_reaches_into_the_home_folder(services: dict[str, Any]) -> None:
    """~/.aws above all: a real account is one mount away from a test that deletes buckets."""
    mounts = [
        (name, volume["source"], volume["target"])
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    ]

    assert mounts
    for name, source, target in mounts:
        assert ".aws" not in Path(source).parts + Path(target).parts, (name, source)
        assert Path(source) not in {Path.home(), *Path.home().parents}, (name, source)


def test_a_missing_folder_is_an_error_and_not_made_by_docker(services: dict[str, Any]) -> None:
    made_by_docker = [
        (name, volume["source"])
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind" and volume.get("bind", {}).get("create_host_path")
    ]

    assert made_by_docker == []


def test_what_comes_from_the_checkout_is_read_only(services: dict[str, Any]) -> None:
    writable = [
        (name, volume["source"])
        for name, service in services.items()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind" and not volume.get("read_only")
    ]

    assert writable == []


def test_every_service_has_a_health_check(services: dict[str, Any]) -> None:
    without = {
        name
        for name, service in services.items()
        if not service.get("healthcheck", {}).get("test") or service["healthcheck"].get("disable")
    }

    assert without <= ONE_SHOTS


def test_one_shots_are_awaited_by_a_service_that_stays(services: dict[str, Any]) -> None:
    """Otherwise `up --wait` exits 1 when they have done their work."""
    for one_shot in ONE_SHOTS:
        assert services[one_shot]["restart"] == "no"
        assert any(
            service.get("depends_on", {}).get(one_shot, {}).get("condition")
            == "service_completed_successfully"
            for service in services.values()
        ), one_shot


def _image_users() -> dict[str, str]:
    """The last user that each target of the Dockerfile names."""
    users, target = {}, ""
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if match := re.match(r"FROM \S+ AS (\S+)", line):
            target = match[1]
        elif match := re.match(r"USER (\S+)", line):
            users[target] = match[1]
    return users


def test_no_service_runs_as_root(services: dict[str, Any]) -> None:
    image_users = _image_users()
    for name, service in services.items():
        default = image_users.get((service.get("build") or {}).get("target", ""), "root")
        user = str(service.get("user", default)).partition(":")[0]
        assert user not in {"", "0", "root"}, name


def test_airflow_runs_as_the_user_of_its_own_image(services: dict[str, Any]) -> None:
    assert {services[name]["user"] for name in AIRFLOW_SERVICES} == {"50000:0"}


def test_names_leave_room_for_a_second_checkout(services: dict[str, Any], config: dict[str, Any]) -> None:
    assert [name for name, service in services.items() if "container_name" in service] == []
    for kind in ("volumes", "networks"):
        for key, resource in config.get(kind, {}).items():
            assert resource["name"] == f"{config['name']}_{key}", "a fixed name is shared by all checkouts"
            assert not resource.get("external"), key


def test_images_are_built_here_or_have_a_version(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image = service["image"].rpartition("/")[2]
        built_here = image.endswith(("-airflow", "-localstack"))
        assert built_here or re.search(r":\d|@sha256:", image), (
            f"{name}: {image} may be another image tomorrow"
        )


def test_no_secret_has_a_value_in_the_environment(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for key, value in (service.get("environment") or {}).items():
            assert not SECRET_VALUE.search(value or ""), (name, key)
            if SECRET_NAME.search(key) and not SECRET_PLACE.search(key):
                assert value == DUMMY_KEYS.get(key), (name, key)


def test_every_service_that_has_secrets_is_told_where(services: dict[str, Any]) -> None:
    for name, service in services.items():
        mounted = {volume["target"] for volume in service.get("volumes", []) if volume["source"] == "secrets"}
        given = (service.get("environment") or {}).get("SECRETS_FOLDER")
        assert mounted == ({given} if given else set()), name


def test_every_service_that_talks_to_aws_talks_to_the_emulator(services: dict[str, Any]) -> None:
    for name in AIRFLOW_SERVICES | {"localstack"}:
        environment = services[name]["environment"]
        own = "localhost" if name == "localstack" else "localstack"
        assert environment["AWS_ENDPOINT_URL"] == f"http://{own}:4566", name
        assert environment["AWS_DEFAULT_REGION"] == "ap-southeast-2", name
        assert environment["AWS_EC2_METADATA_DISABLED"] == "true", name


@pytest.mark.parametrize("name", ["WEBSERVER_PORT", "LOCALSTACK_PORT"])
@pytest.mark.parametrize("value", ["none", "70000", "-1"])
def test_a_port_that_is_none_is_refused(name: str, value: str) -> None:
    answer = compose_config([COMPOSE_FILE], {name: value})

    assert answer.returncode != 0
    assert value in answer.stderr
