"""How ECS refuses: codes of botocore's model, with the wording that AWS uses."""

from localstack.aws.api import CommonServiceException


def client_exception(message: str) -> CommonServiceException:
    """Return ``ClientException``."""
    return CommonServiceException("ClientException", message)


def invalid_parameter(message: str) -> CommonServiceException:
    """Return ``InvalidParameterException``."""
    return CommonServiceException("InvalidParameterException", message)


def cluster_not_found() -> CommonServiceException:
    """Return ``ClusterNotFoundException``."""
    return CommonServiceException("ClusterNotFoundException", "Cluster not found.")
