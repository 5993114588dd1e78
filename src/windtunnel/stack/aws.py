"""Clients of a stack's AWS, whatever this machine's own settings of AWS and of proxies are."""

from dataclasses import dataclass
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


@dataclass(frozen=True)
class Emulator:
    """The AWS of a running stack, at its address of now, which takes Compose a while to look up."""

    address: str
    region: str

    @classmethod
    def of(cls, stack: Stack) -> "Emulator":
        """Look up the address.

        :raises windtunnel.stack.errors.StackError: if LocalStack does not run.
        """
        return cls(stack.address("localstack"), stack.variables("localstack")["AWS_DEFAULT_REGION"])

    def client(self, service: str, **config: Any) -> Any:
        """Return a boto3 client for a service.

        :param service: as boto3 names it: ``s3``.
        :param config: of botocore's ``Config``: timeouts in seconds, retries.
        """
        # Loopback is never behind the proxy that this machine may have for the rest of the world.
        direct = Config(proxies={}, **config)
        return _session(self.region).client(service, endpoint_url=self.address, config=direct)

    def in_use(self) -> set[str]:
        """Return the services that were called since LocalStack started; to ask another one would load it.

        :raises windtunnel.stack.errors.StackError: if LocalStack does not answer.
        """
        return {name for name, state in self.ask(HEALTH)["services"].items() if state == "running"}

    def ask(self, path: str) -> Any:
        """Return the JSON that LocalStack answers at a path of its own, which is none of AWS.

        :raises windtunnel.stack.errors.StackError: if there is no such answer.
        """
        url = f"{self.address}{path}"
        try:
            answer = urllib3.request("GET", url, timeout=10, retries=False)
            if answer.status != 200:
                raise StackError(f"{url} answers {answer.status}")
            return answer.json()
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise StackError(f"no answer from {url}", str(error)) from error


def client(stack: Stack, service: str, **config: Any) -> Any:
    """Return a boto3 client for a service of a running stack, as :meth:`Emulator.client` does.

    :raises windtunnel.stack.errors.StackError: if LocalStack does not run.
    """
    return Emulator.of(stack).client(service, **config)
