"""Calls of control planes, as LocalStack makes them."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from localstack.aws.api import RequestContext
from localstack.aws.forwarder import create_aws_request_context

from windtunnel_emulator import control_planes

PROJECT = tomllib.loads(Path("emulator/pyproject.toml").read_text())["project"]
PROVIDERS = PROJECT["entry-points"]["localstack.aws.provider"]
ACCOUNT, REGION = "000000000000", "ap-southeast-2"

type Call = Callable[..., tuple[int, Any]]


def provider(service: str) -> Any:
    """A service as LocalStack makes it of its entry point."""
    module, _, name = PROVIDERS[f"{service}:default"].partition(":")
    assert module == control_planes.__name__
    return getattr(control_planes, name).factory().create_service()


def request(service: str, operation: str, **parameters: Any) -> RequestContext:
    context = create_aws_request_context(service, operation, parameters=parameters, region=REGION)
    context.account_id, context.region = ACCOUNT, REGION
    credential = f"Credential=test/20300101/{REGION}/{service}/aws4_request"
    context.request.headers.update(
        {"x-moto-account-id": ACCOUNT, "Authorization": f"AWS4-HMAC-SHA256 {credential}"}
    )
    return context
