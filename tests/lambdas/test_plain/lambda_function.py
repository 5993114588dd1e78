"""A function that does not know of the relay."""

from typing import Any


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    print("a plain function says hello")  # noqa: T201 - printing is what it is for
    return {"keys": sorted(event)}
