"""Clients of a stack's AWS, whatever this machine's own settings of AWS and of proxies are."""

from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.config import Config

from windtunnel.stack.base import Stack


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
