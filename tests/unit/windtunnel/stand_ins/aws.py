"""A client of AWS that answers from a table; botocore holds questions and answers against AWS's own model."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import boto3
from botocore.validate import validate_parameters

# Of an operation: the answer, or what makes one of the parameters, or an exception to be raised.
Answer = Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any] | Exception]


def client(service: str, **answers: Answer) -> Any:
    """Return a client that answers these operations, named as AWS does: ``DescribeTasks``; no other one.

    Its ``asked`` is a list of operations with their parameters.
    """
    made = boto3.client(
        service,
        region_name="ap-southeast-2",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106
    )
    made.asked = []

    def note(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        made.asked.append((model.name, dict(params)))

    def answer(model: Any, **_: Any) -> tuple[Any, Any]:
        _, params = made.asked[-1]
        given = answers[model.name]
        found = given(params) if callable(given) else given
        if isinstance(found, Exception):
            raise found
        if model.output_shape:
            validate_parameters(found, model.output_shape)
        return SimpleNamespace(status_code=200), {"ResponseMetadata": {}, **found}

    made.meta.events.register("before-parameter-build", note)
    made.meta.events.register("before-call", answer)
    return made
