"""How Batch refuses: one code for all, with the request's id in the message as AWS has it."""

from uuid import uuid4

from localstack.aws.api import CommonServiceException


def client_exception(message: str) -> CommonServiceException:
    """Return ``ClientException``.

    :param message: what is wrong, without a full stop if AWS has none.
    """
    return CommonServiceException(
        "ClientException", f"Error executing request, Exception : {message}, RequestId: {uuid4()}"
    )
