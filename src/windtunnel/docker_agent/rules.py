"""What callers of the proxy may ask of Docker: what DockerOperator needs, for containers that are fenced in.

Everything is refused that is not named here, so what a later Docker can do is refused as well.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from windtunnel.compose.labels import PROJECT_LABEL
from windtunnel.docker_agent.place import OWNER_LABEL, Place

# Of the containers that were made through the proxy.
OWNER = "proxy"

PAGE = "see docs/docker.md"

# Of Docker, and of this project's labels.
RESERVED_LABELS = ("com.docker.", "windtunnel.")

# Names and ids; nothing that could mean another path.
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_VERSION = r"(?:/v[0-9.]+)?"


class Refused(Exception):
    """A call that is not made; the message is for its caller."""

    status = 403


class NotThere(Refused):
    """A call about a container that no caller of the proxy has made."""

    status = 404


@dataclass(frozen=True)
class Call:
    """A call of Docker's."""

    method: str
    path: str
    body: bytes = b""
    is_upgrade: bool = False
    """Whether its answer is no longer HTTP."""


@dataclass(frozen=True)
class Rule:
    """A call that may be made: method, path, the parameters that are handed on, and those that are added."""

    method: str
    path: str
    parameters: Collection[str] = ()
    always: Mapping[str, str] | None = None
    is_upgrade: bool = False


RULES = (
    Rule("GET", "/_ping"),
    Rule("HEAD", "/_ping"),
    Rule("GET", "/version"),
    Rule("POST", "/auth"),
    Rule("GET", "/images/json", ("filters", "all", "only_ids")),
    # Not `fromSrc`, which would have Docker read from anywhere.
    Rule("POST", "/images/create", ("fromImage", "tag", "platform")),
    Rule("POST", "/containers/create", ("name", "platform")),
    Rule("GET", "/containers/{}/json"),
    Rule("POST", "/containers/{}/start"),
    Rule("POST", "/containers/{}/stop", ("t", "signal")),
    Rule("POST", "/containers/{}/kill", ("signal",)),
    Rule("POST", "/containers/{}/wait", ("condition",)),
    Rule(
        "GET", "/containers/{}/logs", ("stdout", "stderr", "follow", "timestamps", "tail", "since", "until")
    ),
    Rule("POST", "/containers/{}/attach", ("stdout", "stderr", "stream", "logs"), is_upgrade=True),
    Rule("GET", "/containers/{}/archive", ("path",)),
    # With its volumes, which nobody else could ever use.
    Rule("DELETE", "/containers/{}", ("force",), always={"v": "1"}),
)


class Rules:
    """Turns what a caller asks for into the call that is made, or refuses it."""

    def __init__(self, place: Place, inspect: Callable[[str], Mapping[str, Any]]) -> None:
        """Take where containers are put.

        :param inspect: returns what Docker says of a container by its name; raises `NotThere`.
        """
        self._place = place
        self._inspect = inspect

    def call(self, method: str, target: str, body: bytes) -> Call:
        """Return the call that is made for a caller.

        :param target: path and parameters.
        :raises Refused: if there is no rule for it, or it asks for what no container gets.
        """
        asked = urlsplit(target)
        for rule in RULES:
            path = re.escape(rule.path).replace(r"\{\}", f"(?P<name>{_NAME})")
            found = (
                re.fullmatch(f"(?P<version>{_VERSION}){path}", asked.path) if rule.method == method else None
            )
            if found:
                break
        else:
            raise Refused(f"{method} {asked.path} is not for callers of the proxy: {PAGE}")
        path = found["version"] + rule.path
        if name := found.groupdict().get("name"):
            path = path.format(self._own(name))
        elif rule.path == "/containers/create":
            body = json.dumps(self._container(_read(body))).encode()
        given = parse_qs(asked.query)
        parameters = {one: given[one][0] for one in rule.parameters if one in given} | dict(rule.always or {})
        query = f"?{urlencode(parameters)}" if parameters else ""
        has_body = rule.method == "POST" and not name
        return Call(method, path + query, body if has_body else b"", rule.is_upgrade)

    def _own(self, name: str) -> str:
        """Return the id of a container that was made through the proxy: a name may soon be another's."""
        found = self._inspect(name)
        labels = found["Config"]["Labels"] or {}
        if (labels.get(PROJECT_LABEL), labels.get(OWNER_LABEL)) != (self._place.project, OWNER):
            raise NotThere(f"No such container: {name}")
        return str(found["Id"])

    def _container(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return a container as it is made."""
        _check(asked, CONTAINER, "")
        host = asked.get("HostConfig") or {}
        _check(host, HOST, "HostConfig.")
        labels = asked.get("Labels") or {}
        if reserved := [name for name in labels if name.startswith(RESERVED_LABELS)]:
            raise Refused(f"the label {reserved[0]} is not for callers of the proxy: {PAGE}")
        fence = self._place.fence
        if host.get("NetworkMode") == "none":
            fence["NetworkMode"] = "none"
        elif host.get("NetworkMode") not in (*OWN_NETWORKS, self._place.network):
            mode = host["NetworkMode"]
            raise Refused(
                f"the network {mode} is not for containers of DAGs: theirs is the project's: {PAGE}"
            )
        return {
            **{name: value for name, value in asked.items() if name != "NetworkingConfig"},
            "Labels": {**labels, **self._place.labels(OWNER)},
            "HostConfig": {**host, **fence},
        }


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Refused(f"the body is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("HostConfig") or {}, dict):
        raise Refused("the body describes no container")
    return found


def _anything(_: Any) -> bool:
    return True


def _is_one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: value in values


def _are_in_memory(mounts: Any) -> bool:
    # Docker takes names in any spelling, so only these are let through.
    known = {"Type", "Target", "ReadOnly", "TmpfsOptions"}
    told = [{name for name in one if _says_something(one[name])} for one in mounts]
    return all(one["Type"] == "tmpfs" for one in mounts) and all(names <= known for names in told)


def _is_plain_log(log: Any) -> bool:
    drivers = (None, "", "json-file", "local", "none")
    options = set(log.get("Config") or ())
    return (
        log.keys() <= {"Type", "Config"}
        and log.get("Type") in drivers
        and options <= {"max-size", "max-file"}
    )


# Names of networks that stand for the usual one, which is the project's here.
OWN_NETWORKS = (None, "", "default", "bridge")

# What a container may have, by field; a value that says nothing is never refused.
CONTAINER: Mapping[str, Callable[[Any], bool]] = dict.fromkeys(
    [
        *("Image", "Cmd", "Entrypoint", "Env", "WorkingDir", "User", "Labels", "Hostname", "Domainname"),
        *("Tty", "OpenStdin", "StdinOnce", "AttachStdin", "AttachStdout", "AttachStderr", "Shell"),
        *("StopSignal", "StopTimeout", "Healthcheck", "NetworkDisabled", "HostConfig"),
    ],
    _anything,
)
HOST: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        [
            *(
                "Memory",
                "MemorySwap",
                "MemoryReservation",
                "MemorySwappiness",
                "PidsLimit",
                "ShmSize",
                "Ulimits",
            ),
            *("NanoCpus", "CpuShares", "CpuQuota", "CpuPeriod", "CpusetCpus", "CapDrop", "GroupAdd"),
            *("Tmpfs", "AutoRemove", "ReadonlyRootfs", "Init", "ConsoleSize"),
            *("NetworkMode", "Dns", "DnsSearch", "DnsOptions", "ExtraHosts"),
        ],
        _anything,
    ),
    "Mounts": _are_in_memory,
    "LogConfig": _is_plain_log,
    "IpcMode": _is_one_of("private", "none"),
    "CgroupnsMode": _is_one_of("private"),
    "SecurityOpt": _is_one_of(["no-new-privileges"], ["no-new-privileges:true"]),
    "RestartPolicy": lambda policy: policy["Name"] in ("", "no"),
}


def _check(asked: Mapping[str, Any], allowed: Mapping[str, Callable[[Any], bool]], where: str) -> None:
    """Refuse fields that are not known, and values that are not allowed."""
    for name, value in asked.items():
        if not _says_something(value):
            continue
        try:
            is_allowed = name in allowed and allowed[name](value)
        except (AttributeError, LookupError, TypeError):  # it is of another kind than Docker wants
            is_allowed = False
        if not is_allowed:
            shown = json.dumps(value)[:500]
            raise Refused(f"{where}{name} is not for containers of DAGs: {shown}: {PAGE}")


def _says_something(value: Any) -> bool:
    """Whether a value is more than an empty one, as clients send them along."""
    if isinstance(value, dict):
        return any(map(_says_something, value.values()))
    return value not in (None, "", [], 0, False)
