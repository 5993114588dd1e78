"""The exceptions are ones Airflow knows how to handle, and tell what was sent."""

import inspect

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from custom import errors

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", CLASSES)
def test_each_is_caught_as_a_lambda_error_and_leaves_retries_to_airflow(cls: type[Exception]) -> None:
    assert issubclass(cls, errors.LambdaError)
    assert issubclass(cls, AirflowException)
    assert not issubclass(cls, AirflowFailException)


@pytest.mark.parametrize("cls", [errors.PayloadRefused, errors.ConnectionMissing])
def test_what_was_refused_before_sending_is_an_invalid_request(cls: type[Exception]) -> None:
    assert issubclass(cls, errors.InvalidRequest)
