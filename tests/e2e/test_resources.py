"""What people have in their ``aws.json``: made in an order that works, any number of times, and changed."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import REGION, StackUnderTest
from windtunnel.seeding.resources import apply, load_resources

ACCOUNT = "000000000000"
NAME = "test-resources"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{NAME}"
FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:test-plain"
TOPIC = f"arn:aws:sns:{REGION}:{ACCOUNT}:{NAME}"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{NAME}"
ALLOW = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [ALLOW]})
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "sts:AssumeRole",
                "Principal": {"Service": "lambda.amazonaws.com"},
            }
        ],
    }
)
STATES = json.dumps({"StartAt": "One", "States": {"One": {"Type": "Pass", "End": True}}})

# What refers to something stands before what it refers to.
ENTRIES: dict[str, dict[str, list[dict[str, Any]]]] = {
    "lambda": {
        "create_event_source_mapping": [
            {"FunctionName": "test-plain", "EventSourceArn": QUEUE, "BatchSize": 5}
        ],
        "add_permission": [
            {
                "FunctionName": "test-plain",
                "StatementId": NAME,
                "Action": "lambda:InvokeFunction",
                "Principal": "s3.amazonaws.com",
            }
        ],
        "put_function_event_invoke_config": [{"FunctionName": "test-plain", "MaximumRetryAttempts": 1}],
    },
    "s3": {
        "put_bucket_notification_configuration": [
            {
                "Bucket": NAME,
                "NotificationConfiguration": {
                    "LambdaFunctionConfigurations": [
                        {"LambdaFunctionArn": FUNCTION, "Events": ["s3:ObjectCreated:*"]}
                    ]
                },
            }
        ],
        "put_bucket_versioning": [{"Bucket": NAME, "VersioningConfiguration": {"Status": "Enabled"}}],
        "put_object": [{"Bucket": NAME, "Key": "seed.json", "Body": "{}"}],
        "create_bucket": [
            {"Bucket": NAME, "CreateBucketConfiguration": {"LocationConstraint": REGION}},
        ],
    },
    "sns": {
        "subscribe": [{"TopicArn": TOPIC, "Protocol": "sqs", "Endpoint": QUEUE}],
        "create_topic": [{"Name": NAME}],
    },
    "events": {
        "put_targets": [{"Rule": NAME, "Targets": [{"Id": "one", "Arn": FUNCTION}]}],
        "put_rule": [{"Name": NAME, "ScheduleExpression": "rate(1 day)", "State": "DISABLED"}],
        "create_event_bus": [{"Name": NAME}],
    },
    "cloudwatch": {
        "put_metric_alarm": [
            {
                "AlarmName": NAME,
                "MetricName": "Errors",
                "Namespace": "AWS/Lambda",
                "Statistic": "Sum",
                "Period": 60,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "AlarmActions": [TOPIC],
            }
        ]
    },
    "logs": {
        "put_retention_policy": [{"logGroupName": f"/{NAME}", "retentionInDays": 7}],
        "create_log_stream": [{"logGroupName": f"/{NAME}", "logStreamName": "one"}],
        "create_log_group": [{"logGroupName": f"/{NAME}"}],
    },
    "stepfunctions": {
        "create_state_machine": [{"name": NAME, "definition": STATES, "roleArn": ROLE}],
    },
    "iam": {
        "put_role_policy": [{"RoleName": NAME, "PolicyName": "own", "PolicyDocument": POLICY}],
        "attach_role_policy": [
            {"RoleName": NAME, "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/{NAME}"},
        ],
        "create_policy": [{"PolicyName": NAME, "PolicyDocument": POLICY}],
        "create_role": [{"RoleName": NAME, "AssumeRolePolicyDocument": TRUST}],
    },
    "scheduler": {"create_schedule_group": [{"Name": NAME}]},
    "ses": {"verify_email_identity": [{"EmailAddress": f"{NAME}@example.com"}]},
    "sqs": {"create_queue": [{"QueueName": NAME, "Attributes": {"VisibilityTimeout": "30"}}]},
    "ssm": {
        "put_parameter": [{"Name": f"/{NAME}", "Value": "one", "Type": "String", "Tags": []}],
    },
    "secretsmanager": {"create_secret": [{"Name": NAME, "SecretString": "secret"}]},
    "ec2": {
        "authorize_security_group_ingress": [
            {"GroupName": NAME, "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8"}
        ],
        "create_security_group": [{"GroupName": NAME, "Description": "of a test"}],
    },
    "kms": {
        "create_alias": [
            {"AliasName": f"alias/{NAME}", "TargetKeyId": "11111111-2222-3333-4444-555555555555"}
        ],
        "create_key": [
            {"Tags": [{"TagKey": "_custom_id_", "TagValue": "11111111-2222-3333-4444-555555555555"}]}
        ],
    },
}


@pytest.fixture
def clients(airflow_stack: StackUnderTest) -> Any:
    made: dict[str, Any] = {}

    def client_of(service: str) -> Any:
        return made.setdefault(service, airflow_stack.aws(service))

    return client_of


def test_typical_entries_are_made_twice_and_changed(clients: Any, tmp_path: Path) -> None:
    file = tmp_path / "aws.json"
    file.write_text(json.dumps(ENTRIES))
    calls = load_resources(file)
    assert len(calls) >= 30
    try:
        made, reasons = apply(calls, clients)
        assert (reasons, len(made)) == ([], len(calls))
        # As after a restart of everything but AWS.
        assert apply(calls, clients)[1] == []

        changed = json.loads(json.dumps(ENTRIES))
        changed["sqs"]["create_queue"][0]["Attributes"]["VisibilityTimeout"] = "60"
        changed["lambda"]["create_event_source_mapping"][0]["BatchSize"] = 7
        changed["ssm"]["put_parameter"][0]["Value"] = "two"
        changed["secretsmanager"]["create_secret"][0]["SecretString"] = "hunter2"
        file.write_text(json.dumps(changed))
        assert apply(load_resources(file), clients, made)[1] == []

        url = clients("sqs").get_queue_url(QueueName=NAME)["QueueUrl"]
        attributes = clients("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        assert attributes["VisibilityTimeout"] == "60"
        (mapping,) = clients("lambda").list_event_source_mappings(EventSourceArn=QUEUE)["EventSourceMappings"]
        assert mapping["BatchSize"] == 7
        assert clients("ssm").get_parameter(Name=f"/{NAME}")["Parameter"]["Value"] == "two"
        assert clients("secretsmanager").get_secret_value(SecretId=NAME)["SecretString"] == "hunter2"
    finally:
        remove(clients)


def remove(clients: Any) -> None:
    """Delete what other tests would see; the stack takes the rest with it."""
    functions, s3 = clients("lambda"), clients("s3")
    for mapping in functions.list_event_source_mappings(EventSourceArn=QUEUE)["EventSourceMappings"]:
        functions.delete_event_source_mapping(UUID=mapping["UUID"])
    functions.remove_permission(FunctionName="test-plain", StatementId=NAME)
    functions.delete_function_event_invoke_config(FunctionName="test-plain")
    for version in s3.list_object_versions(Bucket=NAME).get("Versions", []):
        s3.delete_object(Bucket=NAME, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=NAME)
