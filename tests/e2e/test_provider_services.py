"""Operators of the amazon provider against the AWS services that are emulated: one of each module."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support import BUCKET
from windtunnel.airflow_api.client import AirflowClient
from windtunnel.dev import aws_services
from windtunnel.testing.stack import RunningStack

pytestmark = pytest.mark.rare("compose")

NAME = "test-services"
ROLE = f"arn:aws:iam::000000000000:role/{NAME}"


def make_what_is_needed(aws: Callable[[str], Any]) -> None:
    """Make what the tasks work on, and do not make themselves."""
    aws("databrew").create_dataset(Name=NAME, Input={"S3InputDefinition": {"Bucket": BUCKET}})
    aws("databrew").create_profile_job(
        Name=NAME, DatasetName=NAME, RoleArn=ROLE, OutputLocation={"Bucket": BUCKET}
    )
    aws("dms").create_replication_task(
        ReplicationTaskIdentifier=NAME,
        SourceEndpointArn="arn:aws:dms:ap-southeast-2:000000000000:endpoint:source",
        TargetEndpointArn="arn:aws:dms:ap-southeast-2:000000000000:endpoint:target",
        ReplicationInstanceArn="arn:aws:dms:ap-southeast-2:000000000000:rep:instance",
        MigrationType="cdc",
        TableMappings="{}",
    )
    aws("eks").create_cluster(name=NAME, roleArn=ROLE, resourcesVpcConfig={})
    aws("glacier").create_vault(accountId="-", vaultName=NAME)
    aws("neptune").create_db_cluster(DBClusterIdentifier=NAME, Engine="neptune")
    encryption = {
        "Rules": [{"ResourceType": "collection", "Resource": [f"collection/{NAME}"]}],
        "AWSOwnedKey": False,
        "KmsARN": "arn:aws:kms:ap-southeast-2:000000000000:key/key",
    }
    aws("opensearchserverless").create_security_policy(
        name=NAME, type="encryption", policy=json.dumps(encryption)
    )
    aws("ses").verify_email_identity(EmailAddress="test@example.com")
    aws("sns").create_topic(Name=NAME)
    aws("sqs").create_queue(QueueName=NAME)
    definition = {"StartAt": "Pass", "States": {"Pass": {"Type": "Pass", "End": True}}}
    aws("stepfunctions").create_state_machine(name=NAME, definition=json.dumps(definition), roleArn=ROLE)


@pytest.fixture(scope="module")
def failures(airflow: AirflowClient, windtunnel: RunningStack) -> Mapping[str, str]:
    """The tasks of one run, and what the log of each says if it is not green."""
    make_what_is_needed(windtunnel.aws)
    run = airflow.wait(airflow.trigger("test-provider-services"), timeout=180)
    return {
        task.task_id: ""
        if task.state == "success"
        else f"{task.state}: {'\n'.join(airflow.task_log(run, task.task_id).telling_lines())}"
        for task in airflow.task_instances(run)
    }


@pytest.mark.parametrize("task", sorted(aws_services.tasks()))
def test_its_task_is_green(failures: Mapping[str, str], task: str) -> None:
    assert failures[task] == ""


def test_a_service_that_is_not_emulated_says_so(windtunnel: RunningStack) -> None:
    with pytest.raises(
        ClientError, match=r"does not emulate appflow.ListFlows: see docs/aws-services\.md"
    ) as raised:
        windtunnel.aws("appflow").list_flows()
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
