"""A task for each operator module of the amazon provider that the emulated AWS can serve, named like it.

What a task needs to be there beforehand is the test's to make.
"""

import json
from typing import Any

from airflow.providers.amazon.aws.hooks.eks import ClusterStates
from airflow.providers.amazon.aws.hooks.sts import StsHook
from airflow.providers.amazon.aws.operators.athena import AthenaOperator
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.operators.batch import BatchCreateComputeEnvironmentOperator
from airflow.providers.amazon.aws.operators.bedrock import BedrockCustomizeModelOperator
from airflow.providers.amazon.aws.operators.cloud_formation import CloudFormationCreateStackOperator
from airflow.providers.amazon.aws.operators.comprehend import ComprehendStartPiiEntitiesDetectionJobOperator
from airflow.providers.amazon.aws.operators.datasync import DataSyncOperator
from airflow.providers.amazon.aws.operators.dms import DmsStartTaskOperator
from airflow.providers.amazon.aws.operators.ec2 import EC2CreateInstanceOperator
from airflow.providers.amazon.aws.operators.ecr import EcrCreateRepositoryOperator
from airflow.providers.amazon.aws.operators.ecs import EcsCreateClusterOperator
from airflow.providers.amazon.aws.operators.emr import EmrCreateJobFlowOperator
from airflow.providers.amazon.aws.operators.eventbridge import EventBridgePutEventsOperator
from airflow.providers.amazon.aws.operators.glacier import GlacierCreateJobOperator
from airflow.providers.amazon.aws.operators.glue import GlueJobOperator
from airflow.providers.amazon.aws.operators.glue_catalog import GlueCatalogCreateDatabaseOperator
from airflow.providers.amazon.aws.operators.glue_crawler import GlueCrawlerOperator
from airflow.providers.amazon.aws.operators.glue_databrew import GlueDataBrewStartJobOperator
from airflow.providers.amazon.aws.operators.kinesis_analytics import (
    KinesisAnalyticsV2CreateApplicationOperator,
)
from airflow.providers.amazon.aws.operators.lambda_function import LambdaInvokeFunctionOperator
from airflow.providers.amazon.aws.operators.neptune import NeptuneStopDbClusterOperator
from airflow.providers.amazon.aws.operators.opensearch_serverless import (
    OpenSearchServerlessCreateCollectionOperator,
)
from airflow.providers.amazon.aws.operators.quicksight import QuickSightCreateIngestionOperator
from airflow.providers.amazon.aws.operators.rds import RdsCreateDbInstanceOperator
from airflow.providers.amazon.aws.operators.redshift_cluster import RedshiftCreateClusterOperator
from airflow.providers.amazon.aws.operators.redshift_data import RedshiftDataOperator
from airflow.providers.amazon.aws.operators.s3 import S3CreateObjectOperator
from airflow.providers.amazon.aws.operators.s3_tables import S3TablesCreateTableBucketOperator
from airflow.providers.amazon.aws.operators.s3_vectors import S3VectorsCreateVectorBucketOperator
from airflow.providers.amazon.aws.operators.sagemaker import SageMakerTrainingOperator
from airflow.providers.amazon.aws.operators.ses import SesEmailOperator
from airflow.providers.amazon.aws.operators.sns import SnsPublishOperator
from airflow.providers.amazon.aws.operators.sqs import SqsPublishOperator
from airflow.providers.amazon.aws.operators.ssm import SsmRunCommandOperator
from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
from airflow.providers.amazon.aws.sensors.eks import EksClusterStateSensor
from airflow.providers.amazon.aws.utils.waiter import WaitPolicy
from airflow.sdk import DAG

NAME = "test-services"
BUCKET = "airflow-lambda-logs"
PREFIX = f"s3://{BUCKET}/{NAME}"
ROLE = f"arn:aws:iam::000000000000:role/{NAME}"


def arn(service: str, resource: str) -> str:
    """Name a resource of the stack's region and account."""
    return f"arn:aws:{service}:ap-southeast-2:000000000000:{resource}"


class AccountOperator(AwsBaseOperator[StsHook]):
    """An operator of one's own, made of what all of the provider's have in common."""

    aws_hook_class = StsHook

    def execute(self, context: Any) -> str:
        """Return the account."""
        return str(self.hook.get_account_number())


# Two of those that wait do so in the triggerer.
with DAG(dag_id="test-provider-services", schedule=None, is_paused_upon_creation=False):
    AthenaOperator(
        task_id="athena", query="SELECT 1", database="test", output_location=f"{PREFIX}/athena", sleep_time=1
    )
    AccountOperator(task_id="base_aws")
    BatchCreateComputeEnvironmentOperator(
        task_id="batch",
        compute_environment_name=NAME,
        environment_type="MANAGED",
        state="ENABLED",
        compute_resources={"type": "FARGATE", "maxvCpus": 1, "subnets": ["subnet-any"]},
        deferrable=True,
        poll_interval=1,
    )
    BedrockCustomizeModelOperator(
        task_id="bedrock",
        job_name=NAME,
        custom_model_name=NAME,
        role_arn=ROLE,
        base_model_id="amazon.titan-text-express-v1",
        training_data_uri=f"{PREFIX}/training",
        output_data_uri=f"{PREFIX}/model",
        hyperparameters={"epochCount": "1"},
        waiter_delay=1,
    )
    CloudFormationCreateStackOperator(
        task_id="cloud_formation",
        stack_name=NAME,
        cloudformation_parameters={
            "TemplateBody": json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}})
        },
    )
    ComprehendStartPiiEntitiesDetectionJobOperator(
        task_id="comprehend",
        input_data_config={"S3Uri": f"{PREFIX}/texts", "InputFormat": "ONE_DOC_PER_LINE"},
        output_data_config={"S3Uri": f"{PREFIX}/entities"},
        mode="ONLY_OFFSETS",
        data_access_role_arn=ROLE,
        language_code="en",
        waiter_delay=1,
    )
    DataSyncOperator(
        task_id="datasync",
        source_location_uri=f"{PREFIX}-from/",
        destination_location_uri=f"{PREFIX}-to/",
        create_source_location_kwargs={
            "S3BucketArn": f"arn:aws:s3:::{BUCKET}",
            "Subdirectory": f"{NAME}-from/",
            "S3Config": {"BucketAccessRoleArn": ROLE},
        },
        create_destination_location_kwargs={
            "S3BucketArn": f"arn:aws:s3:::{BUCKET}",
            "Subdirectory": f"{NAME}-to/",
            "S3Config": {"BucketAccessRoleArn": ROLE},
        },
        create_task_kwargs={"Name": NAME},
        wait_interval_seconds=0,
    )
    DmsStartTaskOperator(task_id="dms", replication_task_arn=arn("dms", f"task:{NAME}"))
    EC2CreateInstanceOperator(
        task_id="ec2", image_id="ami-12c6146b", poll_interval=1, wait_for_completion=True
    )
    EcrCreateRepositoryOperator(task_id="ecr", repository_name=NAME)
    EcsCreateClusterOperator(task_id="ecs", cluster_name=NAME, waiter_delay=1)
    # The module of its operators needs the provider for Kubernetes.
    EksClusterStateSensor(
        task_id="eks_sensor", cluster_name=NAME, target_state=ClusterStates.ACTIVE, poke_interval=1
    )
    EmrCreateJobFlowOperator(
        task_id="emr",
        emr_conn_id=None,
        job_flow_overrides={
            "Name": NAME,
            "ReleaseLabel": "emr-7.9.0",
            "Instances": {
                "MasterInstanceType": "m5.xlarge",
                "InstanceCount": 1,
                "KeepJobFlowAliveWhenNoSteps": False,
            },
            "Steps": [{"Name": "step", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["true"]}}],
            "JobFlowRole": NAME,
            "ServiceRole": NAME,
        },
        wait_policy=WaitPolicy.WAIT_FOR_COMPLETION,
        waiter_delay=1,
        waiter_max_attempts=30,
    )
    EventBridgePutEventsOperator(
        task_id="eventbridge", entries=[{"Source": NAME, "DetailType": "test", "Detail": "{}"}]
    )
    GlacierCreateJobOperator(task_id="glacier", vault_name=NAME)
    GlueJobOperator(
        task_id="glue",
        job_name=NAME,
        script_location=f"{PREFIX}/script.py",
        iam_role_arn=ROLE,
        create_job_kwargs={"GlueVersion": "5.0"},
        deferrable=True,
        waiter_delay=1,
    )
    GlueCatalogCreateDatabaseOperator(task_id="glue_catalog", database_name=NAME)
    GlueCrawlerOperator(
        task_id="glue_crawler",
        config={
            "Name": NAME,
            "Role": ROLE,
            "DatabaseName": NAME,
            "Targets": {"S3Targets": [{"Path": PREFIX}]},
        },
        poll_interval=1,
    )
    GlueDataBrewStartJobOperator(task_id="glue_databrew", job_name=NAME, waiter_delay=1)
    KinesisAnalyticsV2CreateApplicationOperator(
        task_id="kinesis_analytics",
        application_name=NAME,
        runtime_environment="FLINK-1_20",
        service_execution_role=ROLE,
    )
    LambdaInvokeFunctionOperator(task_id="lambda_function", function_name="test-plain", payload="{}")
    NeptuneStopDbClusterOperator(task_id="neptune", db_cluster_id=NAME, waiter_delay=1)
    OpenSearchServerlessCreateCollectionOperator(task_id="opensearch_serverless", collection_name=NAME)
    QuickSightCreateIngestionOperator(
        task_id="quicksight", data_set_id=NAME, ingestion_id=NAME, wait_for_completion=False
    )
    RdsCreateDbInstanceOperator(
        task_id="rds",
        db_instance_identifier=NAME,
        db_instance_class="db.t4g.micro",
        engine="postgres",
        rds_kwargs={"MasterUsername": "test", "MasterUserPassword": "hunter2", "AllocatedStorage": 20},
        waiter_delay=1,
    )
    RedshiftCreateClusterOperator(
        task_id="redshift_cluster",
        cluster_identifier=NAME,
        node_type="ra3.large",
        cluster_type="single-node",
        master_username="test",
        master_user_password="hunter2",  # noqa: S106
        wait_for_completion=True,
        poll_interval=1,
    )
    RedshiftDataOperator(
        task_id="redshift_data", sql="SELECT 1", database="dev", cluster_identifier=NAME, poll_interval=1
    )
    S3CreateObjectOperator(
        task_id="s3", s3_bucket=BUCKET, s3_key=f"{NAME}/object", data="content", replace=True
    )
    S3TablesCreateTableBucketOperator(task_id="s3_tables", table_bucket_name=NAME)
    S3VectorsCreateVectorBucketOperator(task_id="s3_vectors", vector_bucket_name=NAME)
    SageMakerTrainingOperator(
        task_id="sagemaker",
        config={
            "TrainingJobName": NAME,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": f"{PREFIX}/model"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        },
        print_log=False,
        check_interval=1,
    )
    SesEmailOperator(
        task_id="ses",
        mail_from="test@example.com",
        to="test@example.com",
        subject="test",
        html_content="content",
    )
    SnsPublishOperator(task_id="sns", target_arn=arn("sns", NAME), message="content")
    SqsPublishOperator(
        task_id="sqs",
        sqs_queue=f"https://sqs.ap-southeast-2.amazonaws.com/000000000000/{NAME}",
        message_content="content",
    )
    SsmRunCommandOperator(
        task_id="ssm",
        document_name="AWS-RunShellScript",
        run_command_kwargs={
            "InstanceIds": ["i-0123456789abcdef0"],
            "Parameters": {"commands": ["true"]},
        },
        waiter_delay=1,
    )
    StepFunctionStartExecutionOperator(
        task_id="step_function",
        state_machine_arn=arn("states", f"stateMachine:{NAME}"),
        deferrable=True,
        waiter_delay=1,
    )
