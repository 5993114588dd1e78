import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.stack import aws
from windtunnel.stack.errors import StackError

from ..stand_ins.docker import Docker
from ..stand_ins.web_server import Server


@pytest.fixture
def running(compose: ComposeStack, docker: Docker, server: Server) -> ComposeStack:
    docker.answers("compose port", server.address.removeprefix("http://"))
    return compose


def test_in_use_are_the_services_that_were_called(running: ComposeStack, server: Server) -> None:
    states = {"ecs": "running", "batch": "available", "glue": "starting", "sqs": "running"}
    server.answers("GET /_localstack/health", {"services": states})

    assert aws.Emulator.of(running).in_use() == {"ecs", "sqs"}


@pytest.mark.parametrize(("answer", "status"), [({}, 503), ("no JSON", 200)])
def test_what_is_no_answer_is_an_error_that_names_the_address(
    running: ComposeStack, server: Server, answer: object, status: int
) -> None:
    server.answers("GET /_localstack/health", answer, status=status)

    with pytest.raises(StackError, match=f"{server.address}/_localstack/health"):
        aws.Emulator.of(running).in_use()


def test_an_emulator_that_is_gone_is_an_error_that_names_the_address(
    running: ComposeStack, server: Server
) -> None:
    server.stop()

    with pytest.raises(StackError, match=r"no answer from http://127\.0\.0\.1"):
        aws.Emulator.of(running).in_use()
