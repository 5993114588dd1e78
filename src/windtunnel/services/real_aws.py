"""Variables that might make boto3 talk to real AWS, which are refused.

The preflight looks at the user's own. ``entrypoint.sh`` runs this file first, so it imports next to nothing:
with ``-IS`` Python takes 15 ms for it.
"""

import os
import sys
from collections.abc import Iterator, Mapping

# How the ids of AWS's long-term and temporary keys begin.
KEYS = ("AKIA", "ASIA")
ENDPOINT = "AWS_ENDPOINT_URL"
IGNORE = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
# An Airflow connection may name an endpoint of its own, which wins over all variables.
CONNECTION, OWN_ENDPOINT, REAL = "AIRFLOW_CONN_", "endpoint_url", "amazonaws.com"
# Where Celery's messages go, several addresses between semicolons. Without a host they go to the endpoint.
BROKER = "AIRFLOW__CELERY__BROKER_URL"


def dangers(variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with variables, each with the remedy."""
    key = variables.get("AWS_ACCESS_KEY_ID", "")
    if key.startswith(KEYS):
        remedy = "Windtunnel never talks to real AWS. Start it without: unset AWS_ACCESS_KEY_ID"
        yield f"AWS_ACCESS_KEY_ID looks like a real key ({key[:4]}…)", remedy
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        if profile := variables.get(name):
            remedy = f"Windtunnel never reads real AWS profiles. Start it without: unset {name}"
            yield f"{name} is set ({profile})", remedy
    if variables.get(IGNORE, "").lower() == "true":
        yield f"{IGNORE}=true makes boto3 ignore the emulator's address", f"Start without: unset {IGNORE}"
    for name, value in sorted(variables.items()):
        if name.startswith(ENDPOINT) and value and not _is_local(value):
            yield f"{name} is {value!r}, which is not local", "Set it to the emulator's address."
        if name == BROKER and not all(map(_is_local_broker, value.split(";"))):
            # Not its value, which may hold a password.
            yield f"{name} is not local", "Remove it: the overlay celery sets it to the emulator's address."
        if name.startswith(CONNECTION) and OWN_ENDPOINT in value and REAL in value:
            yield f"{name} has an {OWN_ENDPOINT} of real AWS", f"Take {OWN_ENDPOINT} out of it."


def _is_local(address: str) -> bool:
    host = address.partition("://")[2] or address
    for end in "/?#":
        host = host.partition(end)[0]
    host = host.rpartition("@")[2].partition(":")[0]
    numbers = host.split(".")
    if len(numbers) == 4:
        return numbers[0] == "127" and all(number.isascii() and number.isdigit() for number in numbers)
    # A name without a dot is one of this Compose project's services.
    return host.isascii() and host.replace("-", "").replace("_", "").isalnum()


def _is_local_broker(address: str) -> bool:
    return not address.partition("://")[2].strip("/") or _is_local(address)


def main() -> None:
    """Exit with 2 if this process's variables could lead to real AWS, or name no address of the emulator."""
    found = [f"{problem}. {remedy}" for problem, remedy in dangers(os.environ)]
    if not os.environ.get(ENDPOINT):
        problem = f"{ENDPOINT} is not set: boto3 would talk to real AWS"
        found.append(f"{problem}. Set it to the emulator's address.")
    for line in found:
        sys.stderr.write(f"entrypoint: {line}\n")
    sys.exit(2 if found else 0)


if __name__ == "__main__":
    main()
