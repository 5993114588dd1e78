"""The task metadata endpoint, version 4: what a container can ask about itself and its task.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-fargate-response.html
"""

import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from windtunnel.agent.container import Container
from windtunnel.agent.task import Task

VARIABLE = "ECS_CONTAINER_METADATA_URI_V4"


class Metadata:
    """Answers containers of this machine."""

    def __init__(self, listening: socket.socket, host: str = "127.0.0.1") -> None:
        """Take the socket to listen at: it outlives an agent, as containers know its address.

        :param host: the name by which containers reach it.
        """
        self._listening = listening
        self._host = host
        self._port = listening.getsockname()[1]

    def variables(self, task: Task, container: str) -> dict[str, str]:
        """Return what ECS adds to the environment of a container."""
        described = task.ordered.get("task")
        if not described:
            return {}
        return {
            VARIABLE: f"http://{self._host}:{self._port}/v4/{task.id}-{container}",
            "AWS_EXECUTION_ENV": f"AWS_ECS_{described['launch_type']}",
        }

    def serve(self, find: Callable[[str], Task | None]) -> ThreadingHTTPServer:
        """Answer from now on, in threads, and return what can be shut down.

        :param find: returns a task by its id.
        """

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answered(self.path, find)
                content = json.dumps(answer or f"unable to find {self.path}").encode()
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                """Say nothing: containers may ask often."""

        server = ThreadingHTTPServer(self._listening.getsockname(), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = self._listening
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, name="metadata", daemon=True).start()
        return server


def answered(path: str, find: Callable[[str], Task | None]) -> dict[str, Any] | None:
    """Return the answer to a call; None if there is none.

    :param path: ``/v4/CONTAINER``, and ``/task`` or ``/taskWithTags`` after it.
    """
    _, version, container_id, *rest = (*path.split("/"), "", "")
    task_id, _, name = container_id.partition("-")
    task = find(task_id)
    if version != "v4" or not task or name not in task.containers or "task" not in task.ordered:
        return None
    asked = "/".join(rest).strip("/")
    if not asked:
        return _container(task, task.containers[name])
    if asked not in ("task", "taskWithTags"):
        return None
    answer = _task(task)
    if asked == "taskWithTags":
        answer["TaskTags"] = {tag["key"]: tag["value"] for tag in task.ordered["task"]["tags"]}
    return answer


def _task(task: Task) -> dict[str, Any]:
    described = task.ordered["task"]
    family, _, revision = described["definition"].rpartition("/")[2].rpartition(":")
    limits = {"CPU": (task.ordered["cpu"] or 0) / 1024, "Memory": task.ordered["memory"]}
    answer = {
        "Cluster": described["cluster"],
        "TaskARN": described["arn"],
        "Family": family,
        "Revision": revision,
        "DesiredStatus": "STOPPED" if "stopping" in task.state else "RUNNING",
        "KnownStatus": task.state["status"],
        "Limits": {name: value for name, value in limits.items() if value},
        "PullStartedAt": _time(task.state.get("pull_started")),
        "PullStoppedAt": _time(task.state.get("pull_stopped")),
        "AvailabilityZone": described["availability_zone"],
        "LaunchType": described["launch_type"],
        "Containers": [_container(task, container) for container in task.containers.values()],
    }
    return {name: value for name, value in answer.items() if value}


def _container(task: Task, container: Container) -> dict[str, Any]:
    described = task.ordered["task"]
    definition = container.definition
    family, _, revision = described["definition"].rpartition("/")[2].rpartition(":")
    limits = {"CPU": definition["cpu"], "Memory": definition["memory"]}
    answer: dict[str, Any] = {
        "DockerId": f"{task.id}-{container.name}",
        "Name": container.name,
        "DockerName": f"ecs-{family}-{revision}-{container.name}",
        "Image": definition["image"],
        "Labels": {
            "com.amazonaws.ecs.cluster": described["cluster"],
            "com.amazonaws.ecs.container-name": container.name,
            "com.amazonaws.ecs.task-arn": described["arn"],
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": revision,
        },
        "DesiredStatus": "STOPPED" if "stopping" in task.state else "RUNNING",
        "KnownStatus": container.described()["status"],
        "Limits": {name: value for name, value in limits.items() if value},
        "StartedAt": _time(container.started),
        "Type": "NORMAL",
        "ContainerARN": described["containers"][container.name],
    }
    if container.exit:
        answer["ExitCode"] = container.exit.code
    if definition.get("health_check"):
        answer["Health"] = {"status": container.health}
    if logs := definition["logs"]:
        options = {
            "awslogs-group": logs["group"],
            "awslogs-region": logs["region"],
            "awslogs-stream": logs["stream"],
        }
        answer |= {"LogDriver": "awslogs", "LogOptions": options}
    return {name: value for name, value in answer.items() if value is not None and value != {}}


def _time(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else None
