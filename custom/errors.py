"""What can go wrong between an Airflow task and its Lambda function: one class for each thing to do next."""

from airflow.sdk.exceptions import AirflowException


class LambdaError(AirflowException):
    """Base of everything raised here. Airflow retries the task as its ``retries`` say."""


class InvalidRequest(LambdaError):
    """An argument of the operator that AWS would refuse. Nothing was sent; correct the DAG."""


class PayloadRefused(InvalidRequest):
    """A payload that is not a JSON object, too large, or uses a reserved key. Nothing was sent."""


class ConnectionMissing(InvalidRequest):
    """The Airflow connection named by ``aws_conn_id`` does not exist. Nothing was sent."""


class LambdaNotFound(LambdaError):
    """There is no such function, version or alias where the operator looked. Nothing was run."""


class LambdaThrottled(LambdaError):
    """AWS took no invocation within the time allowed for trying. The function did not run."""


class LambdaUnreachable(LambdaError):
    """No connection to Lambda's endpoint could be made. The function did not run."""


class LambdaOutcomeUnknown(LambdaError):
    """The function may have run, or may yet: the connection broke, or it was not heard of. Not sent again."""


class LambdaFunctionFailed(LambdaError):
    """The function raised, or its process ended."""


class LambdaTimedOut(LambdaFunctionFailed):
    """Lambda ended the function at its timeout, or no answer came in that time and a margin."""


class LambdaAbandoned(LambdaError):
    """The task was asked to stop while its function was running, which goes on."""


class RelayIncomplete(LambdaError):
    """The function ended, but not all of its log lines reached the task log."""
