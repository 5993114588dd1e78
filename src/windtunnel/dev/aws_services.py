"""The page of AWS services: what is emulated of those that the amazon provider has an operator or a hook for.

``python -m windtunnel.dev.aws_services`` writes ``docs/aws-services.md``. Rows are kept here; what is a
control plane is read from the emulator's entry points, what is proven from the tasks of the smoke test's DAG.
"""

import re
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

# Not of the settings: tests beside Airflow and in LocalStack have not what those import.
ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "aws-services.md"
DAGS = ROOT / "tests" / "dags" / "provider_services_dags.py"

REAL, CONTROL_PLANE, NONE = "runs for real", "control plane", "none"


@dataclass(frozen=True)
class Row:
    """A service of the page.

    :param service: as boto3 names it.
    :param modules: the provider's operator modules that call it; none if it has a hook alone.
    :param note: what else there is to know.
    """

    service: str
    modules: tuple[str, ...] = ()
    note: str = ""


# Of LocalStack's own services those that do what they are asked, and do not just keep records.
LOCALSTACK_RUNS = (
    "cloudformation",
    "dynamodb",
    "events",
    "firehose",
    "kinesis",
    "lambda",
    "logs",
    "s3",
    "secretsmanager",
    "sns",
    "sqs",
    "stepfunctions",
    "sts",
)
# Of moto's those whose work agents run.
AGENTS_RUN = ("batch", "ecs")
LOCALSTACK_KEEPS_RECORDS = ("ec2", "redshift", "ses", "ssm")

TAKEN = "LocalStack takes its calls for those of another service: status 500"
# These were not seen to run: the download was not to be had.
UNSEEN = "and LocalStack's download at the first call; no test runs it"

ROWS = (
    Row("appflow", ("appflow",)),
    Row("athena", ("athena", "athena_spark"), "a query has no rows; no sessions, which `athena_spark` needs"),
    Row("batch", ("batch",), "with an agent, as of the overlay `ecs-agent`: see `docs/batch.md`"),
    Row("bedrock", ("bedrock",), "customization jobs; no model answers"),
    Row("bedrock-agent", ("bedrock",), "agents and knowledge bases; no ingestion"),
    Row("bedrock-agent-runtime", ("bedrock",), TAKEN),
    Row("bedrock-agentcore", ("bedrock",)),
    Row("bedrock-agentcore-control", ("bedrock",), TAKEN),
    Row("bedrock-runtime", ("bedrock",)),
    Row("cloudformation", ("cloud_formation",), "stacks of LocalStack's own services"),
    Row("comprehend", ("comprehend",)),
    Row("databrew", ("glue_databrew",), "moto's jobs, with runs of our own"),
    Row("datasync", ("datasync",), "nothing is copied"),
    Row("datazone", ("sagemaker_unified_studio", "sagemaker_unified_studio_notebook")),
    Row("dms", ("dms",), "a task of type `full-load` stops by itself, others go on"),
    Row("dynamodb", note=f"needs Java, {UNSEEN}"),
    Row("ec2", ("ec2",), "LocalStack's; no machine starts"),
    Row("ecr", ("ecr",), "nothing can be pushed or pulled"),
    Row("ecs", ("ecs",), "with an agent, as of the overlay `ecs-agent`: see `docs/ecs.md`"),
    Row(
        "eks",
        ("eks",),
        "`operators.eks` needs the provider for Kubernetes, which is not installed: a sensor is green",
    ),
    Row("elasticache"),
    Row("emr", ("emr",)),
    Row("emr-containers", ("emr",)),
    Row("emr-serverless", ("emr",)),
    Row("events", ("eventbridge",)),
    Row("firehose"),
    Row("glacier", ("glacier",)),
    Row("glue", ("glue", "glue_catalog", "glue_crawler"), "a crawler finds nothing; no data quality rules"),
    Row("kafka"),
    Row("kinesis", note=f"needs Node.js, {UNSEEN}"),
    Row("kinesisanalyticsv2", ("kinesis_analytics",), "an application cannot be started"),
    Row("lambda", ("lambda_function",), "see `emulator/README.md`"),
    Row("logs"),
    Row("mwaa", ("mwaa",), "boto3 calls another host than the endpoint's"),
    Row("mwaa-serverless", ("mwaa_serverless",)),
    Row("neptune", ("neptune",)),
    Row("neptune-graph", ("neptune_analytics",)),
    Row("opensearchserverless", ("opensearch_serverless",)),
    Row("quicksight", ("quicksight",), "an ingestion cannot be waited for"),
    Row("rds", ("rds",), "no database starts"),
    Row("redshift", ("redshift_cluster",), "LocalStack's; no database starts"),
    Row("redshift-data", ("redshift_data",), "a statement has no rows of its own"),
    Row("redshift-serverless"),
    Row("s3", ("s3",)),
    Row("s3tables", ("s3_tables",)),
    Row("s3vectors", ("s3_vectors",), "no query"),
    Row("sagemaker", ("sagemaker",), "a job has completed as soon as it is made"),
    Row("secretsmanager"),
    Row("ses", ("ses",), "LocalStack's; it keeps what is sent"),
    Row("sns", ("sns",)),
    Row("sqs", ("sqs",)),
    Row("ssm", ("ssm",), "LocalStack's; parameters are for real, commands succeed at once"),
    Row("stepfunctions", ("step_function",)),
    Row("sts", ("base_aws",), "`base_aws` is proven by an operator of one's own"),
    Row("verifiedpermissions"),
)

HEAD = """# AWS services

Every service here answers at LocalStack's one endpoint. What *runs for real* does what it is asked. A
*control plane* keeps records and moves jobs and clusters through their states, so that waiters, sensors
and deferrable operators come to their end; nothing runs. A call of a service that is *none*, or of an
operation that a control plane does not have, is answered with status 501 and the name of this page; three
exceptions are in the table.

The table has a row for each service that the amazon provider has an operator or a hook for. An operator
module is in bold if `tests/e2e/test_provider_services.py` runs an operator of it and finds it green:
{proven} of the {all} modules.

| boto3's name | here | operator modules | |
| --- | --- | --- | --- |
"""

TAIL = """
## States

A state lasts a second at least, and each look moves it on by one at most. Many operators wait for a
minute between two looks: give them `waiter_delay=1`, `poll_interval=1` or the like. What moto does not
move on by itself is in `emulator/src/windtunnel_emulator/states.py`.

## The others

LocalStack itself serves more that the provider has nothing for: `apigateway`, `iam`, `kms`, `route53` and
others. These are control planes, too:

{others}

`timestream-query` and `timestream-write` are left out: LocalStack cannot route calls to moto's.
"""


def control_planes() -> list[str]:
    """Name the services that the emulator adds, as boto3 does."""
    project = tomllib.loads((ROOT / "emulator" / "pyproject.toml").read_text())["project"]
    providers = [name.split(":") for name in project["entry-points"]["localstack.aws.provider"]]
    return [service for service, provider in providers if provider == "default"]


def tasks() -> set[str]:
    """Name the tasks of the smoke test."""
    return set(re.findall(r'task_id="(\w+)"', DAGS.read_text()))


def proven() -> set[str]:
    """Name the operator modules of which the smoke test runs an operator."""
    return tasks() & {module for row in ROWS for module in row.modules}


def kind(service: str) -> str:
    """Say what a service is here."""
    if service in (*LOCALSTACK_RUNS, *AGENTS_RUN):
        return REAL
    return CONTROL_PLANE if service in (*LOCALSTACK_KEEPS_RECORDS, *control_planes()) else NONE


def page() -> str:
    """Return the page."""
    green = proven()
    modules = {module for row in ROWS for module in row.modules}
    lines = [HEAD.format(proven=len(green), all=len(modules))]
    for row in ROWS:
        names = [f"**`{name}`**" if name in green else f"`{name}`" for name in row.modules]
        # A module that calls several services is proven with the first of them.
        green -= set(row.modules)
        lines.append(f"| `{row.service}` | {kind(row.service)} | {', '.join(names)} | {row.note} |\n")
    others = sorted(set(control_planes()) - {row.service for row in ROWS})
    listed = textwrap.fill(", ".join(f"`{name}`" for name in others), 120, break_on_hyphens=False)
    return "".join(lines) + TAIL.format(others=listed)


if __name__ == "__main__":
    PAGE.write_text(page())
