"""Clients of a stack's AWS, whatever this machine's own settings of AWS and of proxies are."""

from functools import cache
from typing import Any

import boto3
import botocore.session
import urllib3
from botocore.config import Config

from windtunnel.stack.base import Stack
from windtunnel.stack.errors import StackError

# What LocalStack says of itself.
HEALTH = "/_localstack/health"

# How long a person waits for an answer, as botocore's settings name it, in seconds.
PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "read_timeout": 10,
    "retries": {"total_max_attempts": 1},
}


@cache
def _session(region: str) -> boto3.session.Session:
    return boto3.session.Session(
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106 - the emulator takes any
        region_name=region,
        # Without AWS_PROFILE, which may name one that is not there.
        botocore_session=botocore.session.Session(session_vars={"profile": (None, [], None, None)}),
    )


def client(stack: Stack, service: str, **config: Any) -> Any:
    """Return a boto3 client for a service of a running stack.

    :param service: as boto3 names it: ``s3``.
    :param config: of botocore's ``Config``: timeouts in seconds, retries.
    :raises windtunnel.stack.errors.StackError: if LocalStack does not run.
    """
    region = stack.variables("localstack")["AWS_DEFAULT_REGION"]
    # Loopback is never behind the proxy that this machine may have for the rest of the world.
    direct = Config(proxies={}, **config)
    return _session(region).client(service, endpoint_url=stack.address("localstack"), config=direct)


def in_use(stack: Stack) -> set[str]:
    """Return the services that were called since LocalStack started; to ask another one would load it.

    :raises windtunnel.stack.errors.StackError: if LocalStack does not answer.
    """
    return {name for name, state in ask_emulator(stack, HEALTH)["services"].items() if state == "running"}


def ask_emulator(stack: Stack, path: str) -> Any:
    """Return the JSON that LocalStack answers at a path of its own, which is none of AWS.

    :raises windtunnel.stack.errors.StackError: if there is no such answer.
    """
    url = f"{stack.address('localstack')}{path}"
    try:
        answer = urllib3.request("GET", url, timeout=10, retries=False)
        if answer.status != 200:
            raise StackError(f"{url} answers {answer.status}")
        return answer.json()
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        raise StackError(f"no answer from {url}", str(error)) from error
