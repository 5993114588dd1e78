import pytest

from windtunnel import inside

from .conftest import Server


@pytest.fixture(autouse=True)
def aws(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in {
        "AWS_ENDPOINT_URL": server.address,
        "AWS_DEFAULT_REGION": "ap-southeast-2",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    server.answers("GET /", "<ListAllMyBucketsResult/>")
    server.answers("POST /2015-03-31/functions/good/invocations", "", status=204)
    return server


def test_a_function_that_can_be_reached() -> None:
    assert inside.aws(["good"]) == {}


def test_a_function_that_cannot() -> None:
    unreachable = inside.aws(["good", "gone"])

    assert list(unreachable) == ["the function gone"]
    assert "404" in unreachable["the function gone"]


def test_no_localstack_at_all(aws: Server) -> None:
    aws.stop()

    assert list(inside.aws(["good"])) == ["LocalStack"]
