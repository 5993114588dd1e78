"""How the agent talks to the emulator: it asks for work and reports, and nobody calls it."""

import json
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from http.client import HTTPException
from typing import Any

# How long the emulator may hold a question for work open, in seconds, and how much longer an answer may take.
POLL = 20.0
SLACK = 10.0

# How long a report may take, in seconds: nothing else of its task is looked after in this time.
REPORT_TIMEOUT = 5.0


class Unreachable(Exception):
    """The emulator does not answer; it may be about to start."""


class Emulator:
    """The emulator's side of one agent."""

    def __init__(self, endpoint: str, name: str, instance: Mapping[str, Any] | None = None) -> None:
        """Talk to ``endpoint``, the address of AWS, as the agent of that name.

        :param instance: what it has to offer as a container instance: the name of a ``cluster``, ``cpu`` in
            units of 1/1024 of a processor and ``memory`` in MiB.
        """
        self._address = f"{endpoint}/_windtunnel/agents/{name}"
        self._instance = instance

    def poll(
        self, images: Collection[str], held: Collection[str], stopping: Collection[str], timeout: float
    ) -> Mapping[str, Any]:
        """Return what is to ``start`` and to ``stop``, two lists; wait until there is something.

        :param images: patterns of the images that this agent runs.
        :param held: the ids of the work that it has.
        :param stopping: the ids of what it is about to stop.
        :param timeout: how long to wait, in seconds.
        :raises Unreachable: if there is no answer.
        """
        asked = {
            "images": list(images),
            "held": list(held),
            "stopping": list(stopping),
            "timeout": timeout,
            "instance": self._instance,
        }
        status, answer = self._call("POST", "poll", asked, timeout + SLACK)
        if status != 200:
            raise Unreachable(f"{self._address} answers {status}")
        return answer

    def report(self, identifier: str, state: Mapping[str, Any]) -> bool:
        """Report the state of work; return whether the emulator knows it.

        :raises Unreachable: if the report did not arrive.
        """
        status, _ = self._call("PUT", f"work/{identifier}", state, REPORT_TIMEOUT)
        if status not in (200, 404):
            raise Unreachable(f"{self._address} answers {status}")
        return status == 200

    def _call(
        self, method: str, path: str, content: Mapping[str, Any], timeout: float
    ) -> tuple[int, Mapping[str, Any]]:
        headers = {"Content-Type": "application/json"}
        data = json.dumps(content).encode()
        request = urllib.request.Request(f"{self._address}/{path}", data, headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310 - by our own setting
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, {}
        except (OSError, ValueError, HTTPException) as error:
            raise Unreachable(f"no answer from {self._address}: {error}") from error
