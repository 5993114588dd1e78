"""What the local engine makes of docker-compose.yml: the same services, at places of this machine."""

import json
import os
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from windtunnel.local import composefile, healthcheck
from windtunnel.local.processes import SERVICES
from windtunnel.local.stack import ProcessStack
from windtunnel.seeding import functions
from windtunnel.seeding.installing import PREFIX, Installer
from windtunnel.services import probes
from windtunnel.stack import following, overlays
from windtunnel.stack.settings import PLUGINS_VERSION, PORTS, ROOT, Settings

from .test_docker_compose import (
    AIRFLOW_SERVICES,
    COMPOSE_FILE,
    NO_ENV_FILE,
    OVERLAYS,
    compose_config,
    value_for,
    variables,
)

# Unlike any port in a file.
CHOSEN = {"webserver": 49001, "localstack": 49002, "postgres": 49003}

Definitions = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> ProcessStack:
    """That of a checkout with all that is in this one, and an own place for what it writes."""
    root = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in (".windtunnel", ".env"):
            (root / path.name).symlink_to(path)
    unset = dict.fromkeys(variables(COMPOSE_FILE), "")
    stack = ProcessStack(Settings.of("tunnel", unset, root=root))
    stack.layout.run.mkdir(parents=True)
    stack._write(CHOSEN)
    return stack


@pytest.fixture(scope="module")
def definitions(stack: ProcessStack) -> Definitions:
    """What is started: command and environment of each service."""
    found: Definitions = json.loads((stack.layout.run / SERVICES).read_text())
    return found


def values(definition: Mapping[str, Any]) -> dict[str, str]:
    """Everything that is set for a service, by the place that sets it."""
    words = {f"word {number}": word for number, word in enumerate(definition["command"])}
    return {**definition["environment"], **words}


# The same services


def as_both_say_it(service: Mapping[str, Any]) -> dict[str, Any]:
    """What matters to the local engine, without what Compose adds."""
    return {
        "image": service["image"],
        "entrypoint": service.get("entrypoint") or [],
        "command": [service["command"]]
        if isinstance(service.get("command"), str)
        else service.get("command"),
        "environment": {name: str(value) for name, value in service["environment"].items()},
        "restart": service["restart"],
        "stop_grace_period": service.get("stop_grace_period"),
        "depends_on": {
            name: dependency["condition"] for name, dependency in service.get("depends_on", {}).items()
        },
        "volumes": [
            (
                volume["type"],
                str((ROOT / volume["source"]).resolve()) if volume["type"] == "bind" else volume["source"],
                volume["target"],
            )
            for volume in service["volumes"]
        ],
    }


@pytest.mark.parametrize("given", ["nothing", "everything"])
def test_both_engines_read_the_same_from_the_compose_file(tmp_path: Path, given: str) -> None:
    environment = {"COMPOSE_PROJECT_NAME": "tunnel"}
    unset = dict.fromkeys(variables(COMPOSE_FILE), "") | NO_ENV_FILE
    if given == "everything":
        # The version of plugins is made of the files, whatever is given.
        given_names = variables(COMPOSE_FILE) - {PLUGINS_VERSION}
        environment |= {name: value_for(name, tmp_path) for name in given_names}
    answer = compose_config([COMPOSE_FILE], environment)
    compose = json.loads(answer.stdout)

    local = ProcessStack(Settings.of(variables=unset | environment)).configuration

    assert local["name"] == compose["name"]
    assert list(sorted(local["services"])) == list(sorted(compose["services"]))
    for name, service in compose["services"].items():
        assert as_both_say_it(local["services"][name]) == as_both_say_it(service), name


@pytest.mark.parametrize(
    "overlay",
    [*OVERLAYS, ROOT / "tests" / "faults" / "overlay.yml"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_our_overlays_add_to_a_service_and_take_nothing_away(
    stack: ProcessStack, tmp_path: Path, overlay: Path
) -> None:
    own = set(variables(overlay)) - set(variables(COMPOSE_FILE))
    environment = {name: value_for(name, tmp_path) for name in own}
    services = ProcessStack(
        Settings.of("tunnel", {**stack.settings.variables, **environment}, overlays=[overlay])
    ).configuration["services"]

    assert services != stack.configuration["services"]
    for name, service in stack.configuration["services"].items():
        for key, value in service.items():
            kept = services[name][key]
            if isinstance(value, list):
                assert all(one in kept for one in value), (name, key)
            else:
                assert kept == value or value.items() <= kept.items(), (name, key)


# What the agent has beside what Airflow's services have, and what it must not have.
OF_THE_AGENT = {
    "AGENT_NAME",
    "AGENT_IMAGES",
    "AIRFLOW_IS_EXECUTOR_CONTAINER",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
}
NOT_FOR_TASKS = {"SECRETS_FOLDER", "POSTGRES_ADDRESS"}


def test_the_agent_has_what_airflows_services_have_but_secrets_and_the_database(stack: ProcessStack) -> None:
    """A compose file cannot refer to another one's anchors, so what both say is written in both."""
    overlay = ROOT / "overlays" / "ecs-agent.yml"
    services = ProcessStack(
        Settings.of("tunnel", stack.settings.variables, overlays=[overlay])
    ).configuration["services"]
    agent, airflow = services["ecs-agent"], services["triggerer"]

    own = set(agent["environment"]) - set(airflow["environment"])
    assert own == OF_THE_AGENT
    missing = set(airflow["environment"]) - set(agent["environment"])
    # The port is the web server's, the slots are the scheduler's.
    assert missing == NOT_FOR_TASKS | {"AIRFLOW__API__PORT", "PARALLELISM"}
    for name in set(agent["environment"]) & set(airflow["environment"]):
        assert agent["environment"][name] == airflow["environment"][name], name
    assert [one for one in airflow["volumes"] if one not in agent["volumes"]] == [
        {"type": "volume", "source": "secrets", "target": "/run/secrets/windtunnel"}
    ]


def test_every_service_is_started_through_the_entrypoint(
    stack: ProcessStack, definitions: Definitions
) -> None:
    assert set(stack.service_names) == AIRFLOW_SERVICES | {"postgres", "localstack"}
    assert set(definitions) == {*stack.service_names, "fork-server"}
    for name, definition in definitions.items():
        assert Path(definition["command"][0]).samefile(ROOT / "entrypoint.sh")
        assert definition["command"][1] == name


def test_every_service_that_stays_has_a_health_check(stack: ProcessStack) -> None:
    stay = {name for name, service in stack.configuration["services"].items() if service["restart"] != "no"}

    of_overlays = {
        service["healthcheck"]["test"].removeprefix(healthcheck.OURS)
        for overlay in OVERLAYS
        for service in yaml.safe_load(overlay.read_text())["services"].values()
        if service.get("restart", "no") != "no"
    }
    assert set(probes.PROBES) == stay | of_overlays


# At places of this machine


def test_no_path_of_a_container_is_left(stack: ProcessStack, definitions: Definitions) -> None:
    for service, definition in definitions.items():
        for name, value in values(definition).items():
            # The user's own, such as a bundle of certificates.
            if name.startswith(PREFIX) and value == os.environ.get(name.removeprefix(PREFIX)):
                continue
            # What Python's own folders are called is no business of ours.
            outside = value.replace("/usr/local/bin:/usr/bin:/bin", "")
            for checkout in (stack.root, ROOT):
                outside = outside.replace(str(checkout), "")
            outside = re.sub(r"/(?:\.windtunnel/local/tunnel/run|\.windtunnel/venvs)\S*", "", outside)
            assert not re.search(r"(?<![\w.])/(?:opt|run|var|etc|tmp)/", outside), (service, name, value)


def test_every_place_that_is_named_is_there(stack: ProcessStack, definitions: Definitions) -> None:
    """Except what is made at the start: venvs, and what a service writes."""
    begin = f"{stack.layout.run}/root/"
    for service, definition in definitions.items():
        for name, value in values(definition).items():
            for path in re.findall(rf"{re.escape(begin)}[^:\s]*", value):
                made_later = path.startswith(f"{begin}run/secrets/")
                assert made_later or Path(path).exists(), (service, name, path)


def test_what_is_mounted_is_what_compose_mounts(stack: ProcessStack) -> None:
    for service in stack.configuration["services"].values():
        for volume in service["volumes"]:
            place = stack.layout.run / "root" / volume["target"].lstrip("/")
            if volume["type"] == "bind":
                assert place.samefile(stack.root / volume["source"])
            else:
                assert place.samefile(stack.layout.folder / "volumes" / volume["source"])


def test_no_address_of_a_container_is_left(stack: ProcessStack, definitions: Definitions) -> None:
    hosts = "|".join(stack.service_names)
    for service, definition in definitions.items():
        for name, value in values(definition).items():
            assert not re.search(rf"\b(?:{hosts}|localhost):\d", value), (service, name, value)
            assert not re.search(
                rf":(?:{'|'.join(map(str, (port.number for port in PORTS.values())))})\b", value
            ), (
                service,
                name,
                value,
            )


def test_every_port_is_on_the_loopback_interface(definitions: Definitions) -> None:
    everywhere = "0.0.0.0"  # noqa: S104
    assert everywhere not in json.dumps(definitions)
    webserver = definitions["webserver"]["environment"]
    assert (webserver["AIRFLOW__API__HOST"], webserver["AIRFLOW__API__PORT"]) == ("127.0.0.1", "49001")
    assert definitions["localstack"]["environment"]["GATEWAY_LISTEN"] == "127.0.0.1:49002"
    words = definitions["postgres"]["command"]
    # The last one counts.
    settings = dict(word.split("=", 1) for before, word in pairwise(words) if before == "-c")
    assert settings["listen_addresses"] == "127.0.0.1"
    assert settings["port"] == "49003"
    assert settings["unix_socket_directories"] == ""


def test_every_address_of_the_emulator_is_one_that_the_entrypoint_lets_pass(definitions: Definitions) -> None:
    for name in AIRFLOW_SERVICES | {"localstack"}:
        assert definitions[name]["environment"]["AWS_ENDPOINT_URL"] == "http://127.0.0.1:49002", name


def test_nothing_that_a_service_is_told_lies_in_anyones_home(
    stack: ProcessStack, definitions: Definitions
) -> None:
    for name, definition in definitions.items():
        for variable in ("HOME", "TMPDIR"):
            folder = Path(definition["environment"][variable])
            assert folder.is_relative_to(stack.layout.run), (name, variable)


def test_requirements_of_functions_are_installed_with_what_this_machine_has(
    stack: ProcessStack, definitions: Definitions
) -> None:
    installer = Installer.of(definitions["localstack"]["environment"], print)

    assert Path(installer.uv).is_file()
    assert installer.folder == stack.state_folder / "packages", "it is not for all stacks of the checkout"
    assert installer.variables["HOME"] == os.environ["HOME"]
    assert installer.variables["UV_SYSTEM_CERTS"] == "1"

    proxy = {"HTTPS_PROXY": "http://localhost:8080", "UV_INDEX": "file:///opt/index"}
    own = ProcessStack(Settings.of("tunnel", proxy, root=stack.root))
    given = Installer.of(own.variables("localstack"), print).variables
    assert {name: given[name] for name in proxy} == proxy, "they are not the stack's own"


def test_the_image_has_what_requirements_of_functions_are_installed_with() -> None:
    (names,) = re.findall(
        r"^ENV PATH=/opt/localstack.*(?:\n.*)?", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    variables = dict(word.split("=", 1) for word in names.split() if "=" in word)
    installer = Installer.of({**variables, "HOME": "/home/localstack"}, print)

    # The one folder that outlives the container.
    assert str(installer.folder).startswith("/var/lib/localstack/state/")
    assert installer.variables["UV_CACHE_DIR"].startswith("/var/lib/localstack/state/")
    assert f"/usr/local/bin/uv {installer.uv}\n" in (ROOT / "Dockerfile").read_text()


def test_a_service_that_waits_for_localstack_has_the_patience_of_its_health_check() -> None:
    service = ProcessStack(Settings.of("tunnel")).configuration["services"]["localstack"]

    assert healthcheck.start_period(service) == probes.PATIENCE


@pytest.mark.parametrize("names", [["celery"], ["celery", "bundle"], ["bundle", "celery"]])
@pytest.mark.parametrize("worker", ["worker", "heavy-worker"])
def test_workers_of_celery_are_given_what_the_scheduler_is_given(worker: str, names: list[str]) -> None:
    """An overlay cannot share it; with another variable a worker would be no fork of the fork server."""
    services = composefile.read(
        overlays.selected(Settings.of("tunnel", {"ENV_FILE": "/dev/null"}), names, {}, ROOT)
    )["services"]
    scheduler = services["scheduler"]

    shared = ("image", "user", "init", "restart", "environment", "volumes", "env_file")
    assert {name: services[worker][name] for name in shared} == {name: scheduler[name] for name in shared}
    assert {"webserver", "localstack", "postgres"} <= set(services[worker]["depends_on"])


@pytest.mark.parametrize("other", ["celery", "ecs", "batch", "lambda-executor"])
def test_whatever_runs_tasks_has_the_same_bundle(other: str) -> None:
    settings = overlays.selected(
        Settings.of("tunnel", {"ENV_FILE": "/dev/null"}), ["bundle", other], {}, ROOT
    )
    services = composefile.read(settings)["services"]
    bundle = {
        name: value for name, value in services["scheduler"]["environment"].items() if "__DAG_BUNDLE_" in name
    }
    runs = {"worker", "heavy-worker", "ecs-agent"} & set(services)

    assert len(bundle) == 2
    assert runs
    for name in {"init", "webserver", "dag-processor", "triggerer"} | runs:
        assert bundle.items() <= services[name]["environment"].items(), name


def test_what_celery_is_told_in_several_places_is_the_same() -> None:
    """kombu does not alter a queue that is there; and a shell, a probe and a worker share no module."""
    overlay = ROOT / "overlays" / "celery.yml"
    services = composefile.read(Settings.of("tunnel", {"ENV_FILE": "/dev/null"}, overlays=[overlay]))[
        "services"
    ]
    worker = services["worker"]["environment"]
    made = json.loads(services["localstack"]["environment"]["AWS_RESOURCES_CELERY"])["sqs"]["create_queue"]
    visibility = worker["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT"]
    prefix = worker["AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__QUEUE_NAME_PREFIX"]

    assert [queue["Attributes"] for queue in made] == [{"VisibilityTimeout": visibility}]
    assert [queue["QueueName"] for queue in made] == [f"{prefix}default"]
    transport = (ROOT / "custom" / "executors" / "celery_transport.py").read_text()
    (heartbeat,) = re.findall(r'^HEARTBEAT = "(.+)"$', transport, re.MULTILINE)
    for path in ("entrypoint.sh", "src/windtunnel/services/probes.py"):
        assert heartbeat in (ROOT / path).read_text(), path


def test_who_writes_and_reads_the_load_of_celery_names_it_alike() -> None:
    """A worker, a function and the command line share no module."""
    worker, function = (
        (ROOT / path).read_text()
        for path in ("custom/executors/celery_slots.py", "overlays/celery/load_metric/lambda_function.py")
    )
    overlay = ROOT / "overlays" / "celery.yml"
    services = composefile.read(Settings.of("tunnel", {"ENV_FILE": "/dev/null"}, overlays=[overlay]))[
        "services"
    ]
    made = json.loads(services["localstack"]["environment"]["AWS_RESOURCES_CELERY"])
    (rule,), (targets,), (permission,) = (
        made["events"]["put_rule"],
        made["events"]["put_targets"],
        made["lambda"]["add_permission"],
    )
    (target,) = targets["Targets"]

    assert all(f'NAMESPACE = "{following.NAMESPACE}"' in text for text in (worker, function))
    assert all('"MetricName": "Slots"' in text for text in (worker, function))
    assert all(f'"{metric}"' in function for metric in following.METRICS)
    assert rule["Name"] == targets["Rule"] == following.RULE
    assert permission["SourceArn"].endswith(f":rule/{following.RULE}")
    assert target["Arn"].endswith(f":function:{permission['FunctionName']}")
    assert permission["FunctionName"] == functions.load_function(ROOT / "overlays/celery/load_metric").name
    assert json.loads(target["Input"]) == {"prefix": services["worker"]["environment"][following.PREFIX]}
