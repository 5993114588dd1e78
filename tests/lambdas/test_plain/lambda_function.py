"""A function that does not know of the relay."""

from typing import Any


def lambda_handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    print("a plain function says hello")
    return {"keys": sorted(event)}
