"""The agent's calls of the emulator."""

from collections.abc import Iterator

import pytest

from windtunnel.agent.emulator import Emulator, Unreachable

from ..stand_ins.web_server import Server

PATH = "/_windtunnel/agents/it"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


def test_a_question_says_all_there_is_to_know(server: Server) -> None:
    server.answers(f"POST {PATH}/poll", {"start": [], "stop": [{"id": "a"}]})
    instance = {"cluster": "default", "cpu": 1024, "memory": 64}
    answer = Emulator(server.address, "it", instance).poll(["image"], ["a"], ["b"], 0)

    assert answer["stop"] == [{"id": "a"}]
    asked = {"images": ["image"], "held": ["a"], "stopping": ["b"], "timeout": 0, "instance": instance}
    assert server.requests == [(f"POST {PATH}/poll", asked)]


def test_a_report_says_whether_the_work_is_known(server: Server) -> None:
    server.answers(f"PUT {PATH}/work/a", {})
    emulator = Emulator(server.address, "it")

    assert emulator.report("a", {"status": "RUNNING"})
    assert not emulator.report("b", {"status": "RUNNING"})
    assert server.requests[0] == (f"PUT {PATH}/work/a", {"status": "RUNNING"})


def test_an_emulator_that_is_about_to_start_is_not_reached(server: Server) -> None:
    server.answers(f"POST {PATH}/poll", "starting", status=502)
    server.answers(f"PUT {PATH}/work/a", "starting", status=502)
    emulator = Emulator(server.address, "it")

    with pytest.raises(Unreachable, match="502"):
        emulator.poll([], [], [], 0)
    with pytest.raises(Unreachable, match="502"):
        emulator.report("a", {})


def test_an_answer_that_is_no_json_is_none(server: Server) -> None:
    server.answers(f"POST {PATH}/poll", "no json")
    with pytest.raises(Unreachable, match="no answer from"):
        Emulator(server.address, "it").poll([], [], [], 0)


def test_nobody_there_is_not_reached() -> None:
    with pytest.raises(Unreachable, match="Connection refused"):
        Emulator("http://127.0.0.1:9", "it").poll([], [], [], 0)
