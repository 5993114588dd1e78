"""Values that containers take from Parameter Store and Secrets Manager, as ``valueFrom`` names them.

https://docs.aws.amazon.com/AmazonECS/latest/developerguide/specifying-sensitive-data.html
"""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from localstack.aws.connect import connect_to

from windtunnel_emulator.containers.work import Work

# How ECS begins the reason of a task that could not get a value.
_REASON = (
    "ResourceInitializationError: unable to pull secrets or registry auth: "
    "execution resource retrieval failed: unable to retrieve secret from {source}: "
    "service call has been retried 1 time(s): {error}"
)


class SecretError(Exception):
    """A value cannot be had; the message is the reason as ECS words it."""


def secrets_of(work: Work) -> dict[str, dict[str, str]]:
    """Return the values of a set of containers: by container and name of the variable.

    :raises SecretError: if there is no such parameter, secret, version or key.
    """
    return {
        container["name"]: {
            secret["name"]: _value(secret["valueFrom"], work) for secret in container.get("secrets", [])
        }
        for container in work.containers
    }


def _value(origin: str, work: Work) -> str:
    is_secret = origin.startswith("arn:") and ":secretsmanager:" in origin
    source = "asm" if is_secret else "ssm"
    try:
        clients = connect_to(aws_access_key_id=work.account, region_name=work.region)
        return _secret(clients, origin) if is_secret else _parameter(clients, origin)
    except ClientError as error:
        raise SecretError(_REASON.format(source=source, error=error)) from error
    except (KeyError, TypeError, ValueError) as error:
        reason = f"retrieved secret {origin} has no such key: {error}"
        raise SecretError(_REASON.format(source=source, error=reason)) from error
    except BotoCoreError as error:
        raise SecretError(_REASON.format(source=source, error=error)) from error


def _parameter(clients: Any, origin: str) -> str:
    name = origin.partition(":parameter")[2] if origin.startswith("arn:") else origin
    # The ARN of a parameter with a path has one slash, as has its name. A name with slashes begins with one.
    bare = name.removeprefix("/")
    for candidate in (name,) if name == bare or "/" in bare else (name, bare):
        found = clients.ssm.get_parameters(Names=[candidate], WithDecryption=True)["Parameters"]
        if found:
            return str(found[0]["Value"])
    error = {"Error": {"Code": "InvalidParameters", "Message": f"invalid ssm parameters: {name}"}}
    raise ClientError(error, "GetParameters")


def _secret(clients: Any, origin: str) -> str:
    # arn:aws:secretsmanager:region:account:secret:name:json-key:version-stage:version-id
    parts = origin.split(":")
    key, stage, version = (*parts[7:10], "", "", "")[:3]
    chosen = {name: value for name, value in (("VersionStage", stage), ("VersionId", version)) if value}
    text = clients.secretsmanager.get_secret_value(SecretId=":".join(parts[:7]), **chosen)["SecretString"]
    return str(json.loads(text)[key]) if key else str(text)
