"""Takes secrets out of what is written into files for others."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"

# The token with which a task of Airflow calls the execution API: an executor puts it into the command.
TOKEN = re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")


def without_tokens(text: str) -> str:
    """Return a text without the tokens in it."""
    return TOKEN.sub(HIDDEN, text)


def redacted(described: Any) -> Any:
    """Return what AWS describes without the values of environment variables, and without tokens.

    :param described: an answer, or a part of one; names of variables stay.
    """
    if isinstance(described, Mapping):
        return {
            key: _variables(value) if key in ("environment", "Environment") else redacted(value)
            for key, value in described.items()
        }
    if isinstance(described, list | tuple):
        return [redacted(one) for one in described]
    return without_tokens(described) if isinstance(described, str) else described


def _variables(environment: Any) -> Any:
    """Hide the values of an environment: a list of pairs with ECS and Batch, a dict with Lambda."""
    if isinstance(environment, list):
        return [{**pair, "value": HIDDEN} for pair in environment]
    return {**environment, "Variables": dict.fromkeys(environment.get("Variables", {}), HIDDEN)}
