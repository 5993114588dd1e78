"""A web server that answers from a table."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Route = Callable[[dict[str, Any]], tuple[int, Any]]


class Server:
    """A web server with one function a method and path; a function gets the request's JSON."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[tuple[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                key = f"{self.command} {self.path.partition('?')[0]}"
                outer.requests.append((f"{self.command} {self.path}", body))
                missing: tuple[int, Any] = (404, {"detail": f"no route {key}"})
                status, answer = outer.routes[key](body) if key in outer.routes else missing
                text = answer if isinstance(answer, str) else json.dumps(answer)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answers(self, request: str, *answers: Any, status: int = 200) -> None:
        """Answer ``METHOD path`` with these, one a request; the last one stays."""
        left = list(answers)
        self.routes[request] = lambda _: (status, left.pop(0) if len(left) > 1 else left[0])

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
