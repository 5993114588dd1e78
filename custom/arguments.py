"""Checks the arguments of LambdaOperator by the rules of Lambda's API."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from airflow_relay import contract
from custom.errors import InvalidRequest

if TYPE_CHECKING:
    from custom.operators.lambda_function import LambdaOperator

# Lambda quotas: a function runs for 15 minutes at most.
MAX_FUNCTION_SECONDS = 900
# Lambda's model: a name, or an ARN in full or from the account number on. A version has its own argument.
FUNCTION_NAME = re.compile(r"((arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?\d{12}:function:)?[A-Za-z0-9_-]{1,64}")
QUALIFIER = re.compile(r"\$LATEST|[A-Za-z0-9_$-]{1,128}")


def short_name(function_name: str) -> str:
    """Return a function's name from its name or ARN without version."""
    return function_name.rpartition(":")[2]


def check_arguments(operator: "LambdaOperator") -> None:
    """Raise InvalidRequest for a rendered argument that AWS would refuse."""
    if not isinstance(operator.function_name, str) or not FUNCTION_NAME.fullmatch(operator.function_name):
        raise InvalidRequest(
            f"function_name {operator.function_name!r:.200} is neither a Lambda function's name (1 to 64 "
            "letters, digits, - and _) nor its ARN without version"
        )
    if operator.qualifier and not QUALIFIER.fullmatch(operator.qualifier):
        raise InvalidRequest(f"qualifier {operator.qualifier!r:.200} is neither a version nor an alias")
    try:
        contract.check_group_name(operator.awslogs_group)
    except contract.ContractError as error:
        raise InvalidRequest(f"awslogs_group: {error}") from None
    _check_modes(operator)


def _check_modes(operator: "LambdaOperator") -> None:
    if not isinstance(operator.deferrable, bool):
        raise InvalidRequest(f"deferrable must be True or False, not {operator.deferrable!r:.100}")
    # The letters of a text would pass for keys.
    if isinstance(operator.conf_overrides, str) or not isinstance(operator.conf_overrides, bool | Collection):
        raise InvalidRequest(
            f"conf_overrides must be True, False or a list of keys, not {operator.conf_overrides!r:.100}"
        )
    if not isinstance(operator.max_result_bytes, int) or operator.max_result_bytes < 0:
        raise InvalidRequest(f"max_result_bytes must be a number, not {operator.max_result_bytes!r:.100}")
    for name, least in (("start_timeout", 0), ("poll_seconds", 0.05), ("drain_seconds", 0)):
        value = getattr(operator, name)
        is_unset = value is None and name == "poll_seconds"
        if not is_unset and not (isinstance(value, int | float) and least <= value <= MAX_FUNCTION_SECONDS):
            raise InvalidRequest(
                f"{name} must be between {least} and {MAX_FUNCTION_SECONDS}, not {value!r:.100}"
            )
