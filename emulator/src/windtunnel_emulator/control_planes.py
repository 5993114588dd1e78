"""Every AWS service that moto knows and LocalStack does not serve, as a control plane at the same endpoint.

A control plane keeps records and their states; nothing runs. ``docs/aws-services.md`` lists what each service
is. LocalStack imports a service, and its description, at its first call: until then each costs one entry
point. Runs inside LocalStack.
"""

from functools import partial
from importlib import import_module

from localstack import config
from localstack.aws.api import CommonServiceException, RequestContext, ServiceRequest, ServiceResponse
from localstack.aws.handlers import serve_custom_service_request_handlers
from localstack.aws.protocol.service_router import signing_name_path_prefix_rules
from localstack.aws.skeleton import Skeleton
from localstack.aws.spec import ServiceModelIdentifier, load_service
from localstack.constants import DEFAULT_AWS_ACCOUNT_ID
from localstack.runtime.hooks import on_infra_start
from localstack.services.moto import call_moto
from localstack.services.plugins import SERVICE_PLUGINS, Service, aws_provider
from moto.backends import get_backend
from plux import PluginSpec

from windtunnel_emulator import additions, states
from windtunnel_emulator.containers import records

PAGE = "docs/aws-services.md"

# Services whose work agents run: the modules with their own operations. moto keeps the records of the others.
RUN_FOR_REAL = {
    "batch": "windtunnel_emulator.batch.operations",
    "ecs": "windtunnel_emulator.ecs.operations",
}

# Of services that sign by the same name: which one it is, by how the path begins. LocalStack takes some of
# their calls for calls of S3.
PATHS = {
    "bedrock": dict.fromkeys(("/agents", "/flows", "/knowledgebases", "/prompts", "/tags"), "bedrock-agent"),
    "connect": {"*": "connect"},
    "connect-campaigns": {"/v2/": "connectcampaignsv2", "*": "connectcampaigns"},
    "ivs": {"*": "ivs"},
    "kinesisvideo": {
        "/get": "kinesis-video-archived-media",
        "/listFragments": "kinesis-video-archived-media",
    },
    "lex": {"*": "lexv2-models"},
    "sagemaker": {"/Batch": "sagemaker-metrics"},
    "signer": {"*": "signer"},
}


def __getattr__(name: str) -> PluginSpec:
    """Return the provider of a service; an entry point names it like boto3, with ``_`` for ``-``.

    :raises AttributeError: for a name of Python itself.
    """
    if name.startswith("__"):
        raise AttributeError(name)
    service = name.replace("_", "-")
    return aws_provider(api=service)(partial(_control_plane, service))


def _control_plane(name: str) -> Service:
    states.prepare(name)
    _be_in_every_region(name)
    model = load_service(name)
    own = import_module(RUN_FOR_REAL[name]).OPERATIONS if name in RUN_FOR_REAL else additions.OPERATIONS.get(name, {})
    table = {**dict.fromkeys(model.operation_names, _ask_moto), **own}
    if name in RUN_FOR_REAL and config.PERSISTENCE:
        records.restore(name)
        table = {operation: records.keeping(name, operation, handler) for operation, handler in table.items()}
    return Service(name, skeleton=Skeleton(model, table))


def _be_in_every_region(name: str) -> None:
    """Let moto serve the stack's region, which its list of a service's regions may not have."""
    backends = get_backend(name)[DEFAULT_AWS_ACCOUNT_ID]  # type: ignore[call-overload]
    if "aws" not in backends.regions:
        backends.regions += backends.get_session().get_available_regions("ec2")


def _ask_moto(context: RequestContext, _: ServiceRequest) -> ServiceResponse | None:
    """Return moto's answer to a call.

    :raises CommonServiceException: if moto does not know the operation.
    """
    try:
        return call_moto(context)
    except NotImplementedError as error:
        raise not_emulated(context) from error


def not_emulated(context: RequestContext) -> CommonServiceException:
    """Return the answer to a call that nothing here answers."""
    service = context.service.service_name if context.service else ""
    operation = f".{context.operation.name}" if context.operation else ""
    return CommonServiceException(
        "InternalFailure", f"Windtunnel does not emulate {service}{operation}: see {PAGE}", status_code=501
    )


def refuse_unknown_services(chain: object, context: RequestContext, response: object) -> None:
    """Answer a call of a service that neither LocalStack nor moto has: LocalStack would name its licence."""
    if context.service and context.service.service_name not in SERVICE_PLUGINS.api_provider_specs:
        raise not_emulated(context)


@on_infra_start()  # type: ignore[untyped-decorator]
def route_to_control_planes() -> None:
    """Tell services apart that sign by the same name, and put our answer before LocalStack's own."""
    for signing_name, paths in PATHS.items():
        rules = signing_name_path_prefix_rules.setdefault(signing_name, {})
        rules.update({prefix: ServiceModelIdentifier(service) for prefix, service in paths.items()})
    serve_custom_service_request_handlers.append(refuse_unknown_services)
