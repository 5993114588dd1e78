"""A stand-in for Docker's Engine at a socket, as far as the agent with Docker calls it."""

import json
import struct
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Engine:
    """Containers that do what a test says; every call is kept.

    A container's command says what becomes of it: ``exit N``, ``out of memory``, ``missing``, or it runs.
    """

    def __init__(self, path: Path) -> None:
        self.images = {"it"}
        self.calls: list[tuple[str, str]] = []
        self.bodies: list[Any] = []
        self.containers: dict[str, dict[str, Any]] = {}
        self.output: dict[str, list[bytes]] = {}
        self.signals: list[tuple[str, str]] = []
        self.ended = threading.Condition()
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def handle_call(self) -> None:
                asked = urlsplit(self.path)
                path = asked.path.partition("/v1.45")[2] or asked.path
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or "null")
                parameters = {name: values[0] for name, values in parse_qs(asked.query).items()}
                engine.calls.append((self.command, path))
                engine.bodies.append(body)
                status, answer = engine.answer(self.command, path, parameters, body)
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                is_raw = isinstance(answer, bytes)
                kind = "application/vnd.docker.raw-stream" if is_raw else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Api-Version", "1.45")
                self.send_header("Content-Length", str(0 if status in (204, 304) else len(content)))
                self.end_headers()
                if status not in (204, 304):
                    self.wfile.write(content)

            do_GET = do_POST = do_DELETE = do_HEAD = handle_call

            def address_string(self) -> str:
                """A socket in a folder has no address."""
                return "it"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Be away."""
        self._server.shutdown()
        self._server.server_close()

    def end(self, name: str, code: int = 0, out_of_memory: bool = False) -> None:
        """Let a container end."""
        with self.ended:
            state = {"Running": False, "Status": "exited", "ExitCode": code, "OOMKilled": out_of_memory}
            self.containers[name]["State"] |= state
            self.ended.notify_all()

    def answer(self, method: str, path: str, parameters: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answer one call: a status and what is told."""
        if path == "/version":
            return 200, {"ApiVersion": "1.45", "Version": "it"}
        if path == "/containers/create":
            return self._create(parameters.get("name", "it"), body)
        if path == "/containers/json":
            return 200, self._listed(json.loads(parameters["filters"])["label"])
        if path == "/images/create":
            return 404, {"message": f"pull access denied for {parameters['fromImage']}"}
        _, _, name, *rest = (*path.split("/"), "")
        found = next((one for key, one in self.containers.items() if name in (key, one["Id"])), None)
        if not found:
            return 404, {"message": f"No such container: {name}"}
        return self._of_container(found, method, rest[0], parameters)

    def _create(self, name: str, body: Any) -> tuple[int, Any]:
        if body["Image"] not in self.images:
            return 404, {"message": f"No such image: {body['Image']}"}
        if name in self.containers:
            return 409, {"message": f"the name {name} is in use"}
        state = {"Running": False, "Status": "created", "ExitCode": 0, "OOMKilled": False, "Error": ""}
        identifier = f"id-of-{name}"
        self.containers[name] = {
            "Id": identifier,
            "Name": f"/{name}",
            "Config": {"Tty": False, **body},
            "HostConfig": body["HostConfig"],
            "State": state,
        }
        return 201, {"Id": identifier}

    def _listed(self, labels: list[str]) -> list[dict[str, Any]]:
        return [
            {"Id": one["Id"], "Names": [one["Name"]], "Labels": one["Config"]["Labels"]}
            for one in self.containers.values()
            if set(labels) <= {f"{name}={value}" for name, value in one["Config"]["Labels"].items()}
        ]

    def _of_container(
        self, found: dict[str, Any], method: str, what: str, parameters: dict[str, str]
    ) -> tuple[int, Any]:
        name = found["Name"][1:]
        if method == "DELETE":
            self.end(name)
            del self.containers[name]
            return 204, ""
        if what == "json":
            return 200, found
        if what == "start":
            return self._start(found)
        if what == "logs":
            self._wait(found)
            return 200, b"".join(frame(chunk) for chunk in self.output.get(name, []))
        if what == "wait":
            self._wait(found)
            return 200, {"StatusCode": found["State"]["ExitCode"]}
        if what == "kill":
            if not found["State"]["Running"]:
                return 409, {"message": "it is not running"}
            self.signals.append((name, parameters["signal"]))
            return 204, ""
        if what in ("pause", "unpause"):
            return 204, ""
        return 500, {"message": f"the stand-in does not know {what}"}

    def _start(self, found: dict[str, Any]) -> tuple[int, Any]:
        command = " ".join(found["Config"].get("Cmd") or [])
        if command == "missing":
            return 400, {"message": 'exec: "missing": executable file not found in $PATH: unknown'}
        found["State"] |= {"Running": True, "Status": "running"}
        name = found["Name"][1:]
        if command == "out of memory":
            self.end(name, 137, out_of_memory=True)
        elif command.startswith("exit "):
            self.end(name, int(command.split()[1]))
        return 204, ""

    def _wait(self, found: dict[str, Any]) -> None:
        with self.ended:
            self.ended.wait_for(lambda: not found["State"]["Running"], timeout=30)


def frame(chunk: bytes, stream: int = 1) -> bytes:
    """Return bytes of an output as Docker sends them."""
    return struct.pack(">BxxxL", stream, len(chunk)) + chunk
