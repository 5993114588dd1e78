"""How a resource that is there already gets other arguments, since AWS has no one way to say so."""

from typing import Any

Arguments = dict[str, Any]


def update(client: Any, operation: str, arguments: Arguments) -> None:
    """Bring a resource to the arguments of the call that creates it.

    What has no call for that stays as it is, such as a bucket, whose settings have calls of their own.

    :param client: boto3's for the service.
    :param operation: the call that has failed because the resource is there, such as ``create_queue``.
    """
    special = _SPECIAL.get((client.meta.service_model.service_name, operation))
    if special:
        special(client, arguments)
        return
    name = operation.replace("create_", "update_", 1)
    if name == operation or not hasattr(client, name):
        return
    shape = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[name]).input_shape
    if not set(shape.required_members) <= arguments.keys():
        return
    try:
        getattr(client, name)(**{key: value for key, value in arguments.items() if key in shape.members})
    except client.exceptions.ClientError as error:
        if (
            error.response["Error"]["Code"] != "InternalFailure"
        ):  # LocalStack's word for a call it does not have
            raise


def is_registered(client: Any, operation: str, arguments: Arguments) -> bool:
    """Return whether a definition's latest revision is what a call would register once more."""
    latest = _LATEST.get((client.meta.service_model.service_name, operation))
    if not latest:
        return False
    try:
        return _contains(latest(client, arguments), arguments)
    except client.exceptions.ClientError:  # there is none
        return False


def _contains(there: Any, given: Any) -> bool:
    """Return whether something has all that is given, and perhaps what the service has filled in."""
    if isinstance(given, dict):
        return isinstance(there, dict) and all(_contains(there.get(name), one) for name, one in given.items())
    if isinstance(given, list):
        return isinstance(there, list) and len(there) == len(given) and all(map(_contains, there, given))
    return bool(there == given)


def _latest_job_definition(client: Any, arguments: Arguments) -> Any:
    found = client.describe_job_definitions(jobDefinitionName=arguments["jobDefinitionName"], status="ACTIVE")
    return max(found["jobDefinitions"], key=lambda one: one["revision"], default={})


_LATEST = {
    ("batch", "register_job_definition"): _latest_job_definition,
    ("ecs", "register_task_definition"): lambda client, arguments: client.describe_task_definition(
        taskDefinition=arguments["family"]
    )["taskDefinition"],
}


def _queue(client: Any, arguments: Arguments) -> None:
    if attributes := arguments.get("Attributes"):
        url = client.get_queue_url(QueueName=arguments["QueueName"])["QueueUrl"]
        client.set_queue_attributes(QueueUrl=url, Attributes=attributes)


def _compute_environment(client: Any, arguments: Arguments) -> None:
    resources = arguments.get("computeResources", {})
    # The kind of machines is for ever.
    changeable = {key: value for key, value in resources.items() if key in ("maxvCpus", "subnets")}
    given = {key: arguments[key] for key in ("state", "unmanagedvCpus", "serviceRole") if key in arguments}
    if changeable:
        given["computeResources"] = changeable
    client.update_compute_environment(computeEnvironment=arguments["computeEnvironmentName"], **given)


def _job_queue(client: Any, arguments: Arguments) -> None:
    taken = ("state", "priority", "schedulingPolicyArn", "computeEnvironmentOrder")
    given = {key: arguments[key] for key in taken if key in arguments}
    client.update_job_queue(jobQueue=arguments["jobQueueName"], **given)


def _event_source_mapping(client: Any, arguments: Arguments) -> None:
    of = {key: arguments[key] for key in ("FunctionName", "EventSourceArn") if key in arguments}
    mappings = client.list_event_source_mappings(**of)["EventSourceMappings"]
    shape = client.meta.service_model.operation_model("UpdateEventSourceMapping").input_shape
    changeable = {key: value for key, value in arguments.items() if key in shape.members}
    if len(mappings) == 1:  # without an ARN, as of a Kafka of one's own, it could be any of them
        client.update_event_source_mapping(UUID=mappings[0]["UUID"], **changeable)


def _permission(client: Any, arguments: Arguments) -> None:
    of = {key: arguments[key] for key in ("FunctionName", "StatementId", "Qualifier") if key in arguments}
    client.remove_permission(**of)
    client.add_permission(**arguments)


def _parameter(client: Any, arguments: Arguments) -> None:
    # Tags may not be given together with Overwrite.
    untagged = {key: value for key, value in arguments.items() if key != "Tags"}
    client.put_parameter(**untagged, Overwrite=True)


def _secret(client: Any, arguments: Arguments) -> None:
    taken = ("ClientRequestToken", "Description", "KmsKeyId", "SecretBinary", "SecretString")
    given = {key: arguments[key] for key in taken if key in arguments}
    client.update_secret(SecretId=arguments["Name"], **given)


_SPECIAL = {
    ("batch", "create_compute_environment"): _compute_environment,
    ("batch", "create_job_queue"): _job_queue,
    ("lambda", "add_permission"): _permission,
    ("lambda", "create_event_source_mapping"): _event_source_mapping,
    ("secretsmanager", "create_secret"): _secret,
    ("sqs", "create_queue"): _queue,
    ("ssm", "put_parameter"): _parameter,
}
