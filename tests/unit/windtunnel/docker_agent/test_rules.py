"""What callers of the proxy may ask for, and what is refused: everything that reaches the machine."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from windtunnel.compose.labels import ONE_OFF_LABEL, PROJECT_LABEL
from windtunnel.docker_agent.place import OWNER_LABEL
from windtunnel.docker_agent.rules import NotThere, Refused, Rules

from .conftest import PLACE

OWN = {PROJECT_LABEL: "tunnel", OWNER_LABEL: "proxy"}
# What Docker says of containers by their names.
THERE: dict[str, dict[str, str] | None] = {
    "mine": OWN,
    "of-another-project": {**OWN, PROJECT_LABEL: "other"},
    "of-a-task": {**OWN, OWNER_LABEL: "agent"},
    "postgres": {PROJECT_LABEL: "tunnel"},
    "bare": None,
}


@pytest.fixture
def rules() -> Rules:
    def inspect(name: str) -> Mapping[str, Any]:
        if name not in THERE:
            raise NotThere(name)
        return {"Id": f"id-of-{name}", "Config": {"Labels": THERE[name]}}

    return Rules(PLACE, inspect)


def create(rules: Rules, **asked: Any) -> dict[str, Any]:
    body = json.dumps({"Image": "it", **asked}).encode()
    made: dict[str, Any] = json.loads(rules.call("POST", "/v1.45/containers/create?name=it", body).body)
    return made


@pytest.mark.parametrize(
    ("method", "asked", "made"),
    [
        ("GET", "/version", "/version"),
        ("GET", "/v1.45/_ping", "/v1.45/_ping"),
        ("GET", "/v1.45/images/json?filters=%7B%7D&other=1", "/v1.45/images/json?filters=%7B%7D"),
        ("POST", "/v1.45/images/create?fromImage=it&tag=3", "/v1.45/images/create?fromImage=it&tag=3"),
        ("POST", "/v1.45/images/create?fromSrc=http://it", "/v1.45/images/create"),
        ("GET", "/v1.45/containers/mine/json", "/v1.45/containers/id-of-mine/json"),
        ("POST", "/v1.45/containers/mine/start", "/v1.45/containers/id-of-mine/start"),
        ("POST", "/v1.45/containers/mine/wait", "/v1.45/containers/id-of-mine/wait"),
        ("POST", "/v1.45/containers/mine/stop?t=3", "/v1.45/containers/id-of-mine/stop?t=3"),
        ("GET", "/containers/mine/logs?stdout=1&x=2", "/containers/id-of-mine/logs?stdout=1"),
        ("POST", "/containers/mine/attach?stdin=1&stream=1", "/containers/id-of-mine/attach?stream=1"),
        ("DELETE", "/containers/mine?force=True&v=False", "/containers/id-of-mine?force=True&v=1"),
    ],
)
def test_what_dockeroperator_needs_is_handed_on(rules: Rules, method: str, asked: str, made: str) -> None:
    call = rules.call(method, asked, b'{"any": "thing"}')

    assert (call.method, call.path) == (method, made)
    assert call.is_upgrade == ("attach" in asked)
    # A container's calls have no body: the one of `start` would once have changed what it may.
    assert (call.body == b"") == (method != "POST" or "/containers/" in asked)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.45/containers/json"),
        ("GET", "/v1.45/info"),
        ("POST", "/v1.45/containers/mine/exec"),
        ("POST", "/v1.45/containers/mine/update"),
        ("PUT", "/v1.45/containers/mine/archive?path=/"),
        ("POST", "/v1.45/containers/prune"),
        ("GET", "/v1.45/volumes"),
        ("POST", "/v1.45/volumes/create"),
        ("POST", "/v1.45/networks/create"),
        ("POST", "/v1.45/build"),
        ("POST", "/v1.45/images/load"),
        ("DELETE", "/v1.45/images/it"),
        ("POST", "/v1.45/services/create"),
        ("POST", "/v1.45/plugins/pull"),
        ("GET", "/v1.45/containers/mine/../postgres/json"),
        ("GET", "/v1.45/containers/mine%2f..%2fpostgres/json"),
        ("GET", "/v1.45/../containers/json"),
        ("POST", "/v1.45/session"),
        ("POST", "/grpc"),
    ],
)
def test_every_other_call_is_refused(rules: Rules, method: str, path: str) -> None:
    with pytest.raises(Refused, match=r"is not for callers of the proxy: see docs/docker\.md"):
        rules.call(method, path, b"")


@pytest.mark.parametrize("name", ["postgres", "of-another-project", "of-a-task", "bare", "unknown"])
@pytest.mark.parametrize(("method", "call"), [("GET", "/json"), ("POST", "/kill"), ("DELETE", "")])
def test_a_container_that_no_caller_has_made_is_not_there(
    rules: Rules, method: str, call: str, name: str
) -> None:
    with pytest.raises(NotThere):
        rules.call(method, f"/v1.45/containers/{name}{call}", b"")


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": ["/:/host"]},
        {"Binds": ["/var/run/docker.sock:/var/run/docker.sock"]},
        {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]},
        {"Mounts": [{"Type": "volume", "Source": "tunnel_secrets", "Target": "/secrets"}]},
        {"Mounts": [{"Type": "tmpfs", "type": "bind", "source": "/", "Target": "/host"}]},
        {"Mounts": [{"Target": "/host"}]},
        {"VolumesFrom": ["tunnel-scheduler-1"]},
        {"Privileged": True},
        {"privileged": True},
        {"CapAdd": ["SYS_ADMIN"]},
        {"Devices": [{"PathOnHost": "/dev/sda"}]},
        {"DeviceRequests": [{"Count": -1}]},
        {"DeviceCgroupRules": ["a *:* rwm"]},
        {"NetworkMode": "host"},
        {"NetworkMode": "container:tunnel-postgres-1"},
        {"NetworkMode": "other_default"},
        {"PidMode": "host"},
        {"PidMode": "container:tunnel-postgres-1"},
        {"IpcMode": "host"},
        {"UTSMode": "host"},
        {"UsernsMode": "host"},
        {"CgroupnsMode": "host"},
        {"CgroupParent": "/"},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"Sysctls": {"net.ipv4.ip_forward": "1"}},
        {"PortBindings": {"80/tcp": [{"HostPort": "80"}]}},
        {"PublishAllPorts": True},
        {"RestartPolicy": {"Name": "always"}},
        {"LogConfig": {"Type": "syslog"}},
        {"LogConfig": {"Type": "json-file", "type": "syslog"}},
        {"LogConfig": "syslog"},
        {"Runtime": "own"},
        {"OomKillDisable": True},
        {"MaskedPaths": ["/none"]},
        {"NotYetInvented": True},
    ],
    ids=json.dumps,
)
def test_a_container_that_would_reach_the_machine_is_refused(rules: Rules, host: dict[str, Any]) -> None:
    with pytest.raises(Refused, match=r"is not for containers of DAGs: .*see docs/docker\.md"):
        create(rules, HostConfig=host)


@pytest.mark.parametrize(
    "asked",
    [
        {"hostconfig": {"Privileged": True}},
        {"Volumes": {"/data": {"a": "b"}}},
        {"NetworkingConfig": {"EndpointsConfig": {"other": {"Aliases": ["postgres"]}}}},
        {"MacAddress": "02:42:ac:11:00:02"},
        {"Labels": {PROJECT_LABEL: "other"}},
        {"Labels": {OWNER_LABEL: "agent"}},
    ],
    ids=json.dumps,
)
def test_so_is_one_that_pretends_to_be_another(rules: Rules, asked: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        create(rules, **asked)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"HostConfig": []}', b'{"HostConfig": [1]}'])
def test_what_describes_no_container_is_refused(rules: Rules, body: bytes) -> None:
    if body == b'{"HostConfig": []}':  # as empty as none
        assert rules.call("POST", "/containers/create", body).body
        return
    with pytest.raises(Refused):
        rules.call("POST", "/containers/create", body)


def test_the_refusal_of_a_mount_names_its_source(rules: Rules) -> None:
    """By which DockerOperator knows that it has to do without its temporary folder."""
    mount = {"Type": "bind", "Source": "/folder/airflowtmp123", "Target": "/it"}
    with pytest.raises(Refused, match="/folder/airflowtmp123"):
        create(rules, HostConfig={"Mounts": [mount]})


def test_a_container_as_dockeroperator_asks_for_it_is_made_and_fenced_in(rules: Rules) -> None:
    made = create(
        rules,
        Cmd=["true"],
        Env=["A=1"],
        Labels={"mine": "1"},
        Volumes=None,
        NetworkingConfig=None,
        HostConfig={
            "NetworkMode": "default",
            "CpuShares": 1024,
            "Memory": 1 << 26,
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "Source": None, "ReadOnly": False}],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
            "Privileged": False,
            "CapAdd": None,
        },
    )

    assert (made["Cmd"], made["Env"]) == (["true"], ["A=1"])
    assert made["Labels"].items() >= {"mine": "1", **OWN, ONE_OFF_LABEL: "True"}.items()
    host = made["HostConfig"]
    assert host.items() >= PLACE.fence.items()
    assert (host["Memory"], host["CpuShares"]) == (1 << 26, 1024)


def test_a_container_may_have_no_network(rules: Rules) -> None:
    assert create(rules, HostConfig={"NetworkMode": "none"})["HostConfig"]["NetworkMode"] == "none"
    assert create(rules)["HostConfig"]["NetworkMode"] == "tunnel_default"
