"""A command ``docker`` that answers from a table, and what it says of a stack's containers."""

import json
import sys
from pathlib import Path
from typing import Any

# Answers with the first rule that its arguments begin with; each call takes the rule's next output, and the
# last one stays.
DOCKER = """#!{python} -IS
import json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
def rewrite(path, rule):
    # In one piece: another process may be reading it.
    new = folder / f"new-{{os.getpid()}}"
    new.write_text(json.dumps(rule))
    new.replace(path)
arguments = " ".join(sys.argv[1:])
with (folder / "calls").open("a") as calls:
    calls.write(arguments + "\\n")
for path in sorted(folder.glob("rule-*.json")):
    rule = json.loads(path.read_text())
    if not arguments.startswith(rule["command"]):
        continue
    outputs = rule["outputs"]
    if rule["fails"]:
        rewrite(path, dict(rule, fails=rule["fails"] - 1))
        sys.exit(1)
    if len(outputs) > 1:
        rewrite(path, dict(rule, outputs=outputs[1:]))
    sys.stdout.write(outputs[0])
    sys.stderr.write(rule["errors"])
    while rule["holds"] and not (folder / "released").exists():
        time.sleep(0.01)
    sys.exit(rule["code"])
sys.stderr.write("the test has no answer for: docker " + arguments)
sys.exit(99)
"""

CONFIGURATION = {
    "name": "tunnel",
    "services": {
        "init": {"image": "tunnel-airflow", "build": {}, "user": "50000:0"},
        "postgres": {"image": "postgres:17", "user": "postgres", "depends_on": {"init": {}}},
        "localstack": {
            "image": "tunnel-localstack",
            "build": {},
            "environment": {
                "AWS_DEFAULT_REGION": "ap-southeast-2",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
            },
        },
        "webserver": {"image": "tunnel-airflow", "user": "50000:0", "depends_on": {"init": {}}},
        "scheduler": {
            "image": "tunnel-airflow",
            "user": "50000:0",
            "depends_on": {"init": {}, "localstack": {}},
        },
    },
}


class Docker:
    """The stand-in's table, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rules = 0
        program = folder / "bin" / "docker"
        program.parent.mkdir(parents=True)
        program.write_text(DOCKER.format(python=sys.executable, folder=str(folder)))
        program.chmod(0o755)
        self.path = str(program.parent)

    def answers(
        self,
        command: str,
        *outputs: str,
        code: int = 0,
        errors: str = "",
        holds: bool = False,
        fails: int = 0,
    ) -> None:
        """From now on ``docker COMMAND …`` prints the outputs, one a call; the newest rule that fits counts.

        :param holds: it ends when ``release`` is called.
        :param fails: so many calls fail before that.
        """
        self._rules += 1
        rule = {"command": command, "outputs": outputs or ("",), "code": code, "errors": errors}
        text = json.dumps({**rule, "holds": holds, "fails": fails})
        (self._folder / f"rule-{1000 - self._rules}.json").write_text(text)

    def release(self) -> None:
        (self._folder / "released").touch()

    @property
    def calls(self) -> list[str]:
        file = self._folder / "calls"
        return file.read_text().splitlines() if file.exists() else []


def container(service: str, **values: Any) -> dict[str, Any]:
    """What ``docker inspect`` says about a service's healthy container; ``values`` change that."""
    wanted = {
        "id": f"id-{service}",
        "status": "running",
        "health": "healthy",
        "exit_code": 0,
        "probe": {"Start": "12:00", "ExitCode": 0, "Output": ""},
        "restart": "unless-stopped",
        "started": "11:00",
        **values,
    }
    state = {"Status": wanted["status"], "ExitCode": wanted["exit_code"], "StartedAt": wanted["started"]}
    if wanted["health"]:
        state["Health"] = {"Status": wanted["health"], "Log": [wanted["probe"]]}
    return {
        "Id": wanted["id"],
        "State": state,
        "Config": {"Labels": {"com.docker.compose.service": service}},
        "HostConfig": {"RestartPolicy": {"Name": wanted["restart"]}},
    }


def done(service: str, **values: Any) -> dict[str, Any]:
    """A one-shot that has done its work."""
    return container(service, status="exited", health="", restart="no", **values)


ALL_READY = [
    done("init"),
    *(container(name) for name in ("postgres", "localstack", "webserver", "scheduler")),
]


def answer_stack(docker: Docker, *looks: list[dict[str, Any]]) -> None:
    """Let the engine show these containers, one list a look; the last one stays."""
    docker.answers("ps --all --quiet", *(" ".join(found["Id"] for found in look) for look in looks))
    docker.answers("inspect", *(json.dumps(look) for look in looks if look))
