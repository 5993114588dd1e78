"""Which services are control planes, and how calls of them are answered."""

import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import botocore.session
import jmespath
import pytest
from localstack.aws.api import CommonServiceException
from localstack.aws.protocol import service_router
from localstack.aws.spec import load_service
from localstack.http import Request, Response
from localstack.services.moto import load_moto_routing_table
from moto.backends import ALT_SERVICE_NAMES, list_of_moto_modules

from windtunnel.dev import aws_services
from windtunnel_emulator import control_planes, states

from .calls import ACCOUNT, PROVIDERS, REGION, Call, provider, request

SERVICES = aws_services.control_planes()


def of_localstack() -> set[str]:
    """The services that LocalStack serves by itself."""
    found = entry_points(group="localstack.aws.provider")
    return {entry.name.split(":")[0] for entry in found if entry.value.startswith("localstack.")}


def of_moto() -> Iterator[str]:
    """The services that moto has, as boto3 names them."""
    modules = set(list_of_moto_modules())
    for service in botocore.session.get_session().get_available_services():
        name = service.replace("-", "")
        if ALT_SERVICE_NAMES.get(name, name) in modules:
            yield service


def test_the_list_is_what_moto_has_less_what_localstack_serves_or_cannot_route() -> None:
    wanted, left_out = set(), set()
    for service in set(of_moto()) - of_localstack():
        try:
            load_moto_routing_table(service)
        except ValueError:
            left_out.add(service)
        else:
            wanted.add(service)

    assert left_out == {"timestream-query", "timestream-write"}
    assert len(wanted) > 100
    assert set(SERVICES) == wanted
    assert [name for name in PROVIDERS if name.endswith(":default")] == [
        f"{name}:default" for name in sorted(SERVICES)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_each_can_be_made(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[str] = []
    monkeypatch.setattr(states, "prepare", prepared.append)

    made = provider(service)

    assert made.name() == made.skeleton.service.service_name == service
    assert prepared == [service]
    assert made.skeleton.dispatch_table.keys() == set(made.skeleton.service.operation_names)


@pytest.fixture
def _routes(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = service_router.signing_name_path_prefix_rules
    monkeypatch.setattr(control_planes, "serve_custom_service_request_handlers", [])
    for name in control_planes.PATHS:
        monkeypatch.setitem(rules, name, {**rules.get(name, {})})
    control_planes.route_to_control_planes()


@pytest.mark.usefixtures("_routes")
def test_calls_reach_their_service() -> None:
    for service in SERVICES:
        model = load_service(service)
        reached = {
            getattr(service_router.determine_aws_service_model(raw_request(model, name)), "service_name", "")
            for name in model.operation_names[:: len(model.operation_names) // 12 + 1]
        }
        # Neptune's calls are RDS's, and moto has one record of both.
        assert reached == {service.replace("neptune", "rds")}, service


def raw_request(model: Any, name: str) -> Request:
    """A request as a client makes it, without its parameters."""
    http = model.operation_model(name).http
    path = re.sub(r"\{[^}]*\}", "x", http["requestUri"].partition("?")[0])
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20300101/{REGION}/{model.signing_name}/aws4"
    }
    if "targetPrefix" in model.metadata:
        headers["X-Amz-Target"] = f"{model.metadata['targetPrefix']}.{name}"
    if model.protocol != "query":
        return Request(http["method"], path, headers=headers)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return Request("POST", path, headers=headers, body=f"Action={name}&Version={model.api_version}")


def test_what_the_page_takes_as_localstacks_is_localstacks() -> None:
    assert {*aws_services.LOCALSTACK_RUNS, *aws_services.LOCALSTACK_KEEPS_RECORDS} <= of_localstack()


def test_a_call_reaches_the_record_that_an_earlier_one_made(call: Call) -> None:
    status, made = call("ecr", "CreateRepository", repositoryName="made")
    assert status == 200
    assert made["repository"]["repositoryArn"] == f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/made"

    _, found = call("ecr", "DescribeRepositories")
    assert [each["repositoryName"] for each in found["repositories"]] == ["made"]


def test_what_moto_refuses_is_refused(call: Call) -> None:
    status, answer = call("ecr", "DescribeImages", repositoryName="unknown")

    assert (status, answer["__type"]) == (400, "RepositoryNotFoundException")


def test_a_service_is_in_every_region(call: Call) -> None:
    assert call("s3tables", "CreateTableBucket", name="bucket")[0] == 200


def test_what_is_created_in_s3_vectors_has_an_arn(call: Call) -> None:
    _, bucket = call("s3vectors", "CreateVectorBucket", vectorBucketName="bucket")
    size = {"dataType": "float32", "dimension": 2, "distanceMetric": "cosine"}
    _, index = call("s3vectors", "CreateIndex", vectorBucketName="bucket", indexName="index", **size)

    assert bucket["vectorBucketArn"].endswith(f":{ACCOUNT}:bucket/bucket")
    assert index["indexArn"] == f"{bucket['vectorBucketArn']}/index/index"
    assert call("s3vectors", "GetIndex", **index)[0] == 200


def test_an_unknown_operation_is_said_and_names_the_page(call: Call) -> None:
    status, answer = call("athena", "StartSession")

    assert status == 501
    assert answer["message"] == "Windtunnel does not emulate athena.StartSession: see docs/aws-services.md"
    assert Path("docs/aws-services.md").exists()


def test_an_unknown_service_is_said_and_names_the_page() -> None:
    def handle(service: str, operation: str) -> None:
        control_planes.refuse_unknown_services(None, request(service, operation), Response())

    handle("s3", "ListBuckets")
    handle("athena", "ListDataCatalogs")
    with pytest.raises(CommonServiceException, match=r"not emulate appflow.ListFlows: see docs") as raised:
        handle("appflow", "ListFlows")
    assert raised.value.status_code == 501


ROLE = f"arn:aws:iam::{ACCOUNT}:role/role"
CLUSTER = {"Name": "cluster", "Instances": {"KeepJobFlowAliveWhenNoSteps": False}}
STEP = {"Name": "step", "HadoopJarStep": {"Jar": "command-runner.jar"}}
DATA = {"S3Uri": "s3://bucket/key"}
MIGRATION = {
    "ReplicationTaskIdentifier": "task",
    "SourceEndpointArn": "source",
    "TargetEndpointArn": "target",
    "ReplicationInstanceArn": "instance",
    "TableMappings": "{}",
}


def see(call: Call, service: str, operation: str, path: str, **parameters: Any) -> list[Any]:
    """The states that four looks see."""
    return [jmespath.search(path, call(service, operation, **parameters)[1]) for _ in range(4)]


def test_a_query_of_athena(call: Call) -> None:
    _, query = call("athena", "StartQueryExecution", QueryString="SELECT 1")

    seen = see(call, "athena", "GetQueryExecution", "QueryExecution.Status.State", **query)
    assert seen == ["RUNNING", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]


def test_a_customization_of_bedrock(call: Call) -> None:
    call(
        "bedrock",
        "CreateModelCustomizationJob",
        jobName="job",
        customModelName="model",
        roleArn=ROLE,
        baseModelIdentifier="base",
        trainingDataConfig={"s3Uri": "s3://bucket/from"},
        outputDataConfig={"s3Uri": "s3://bucket/to"},
        hyperParameters={},
    )

    seen = see(call, "bedrock", "GetModelCustomizationJob", "status", jobIdentifier="job")
    assert seen == ["Completed"] * 4


def test_a_knowledge_base_of_bedrock(call: Call) -> None:
    _, made = call(
        "bedrock-agent",
        "CreateKnowledgeBase",
        name="base",
        roleArn=ROLE,
        knowledgeBaseConfiguration={"type": "VECTOR"},
        storageConfiguration={"type": "RDS"},
    )

    base = made["knowledgeBase"]["knowledgeBaseId"]
    seen = see(call, "bedrock-agent", "GetKnowledgeBase", "knowledgeBase.status", knowledgeBaseId=base)
    assert seen[-1] == "ACTIVE"


def test_a_job_and_a_classifier_of_comprehend(call: Call) -> None:
    _, job = call(
        "comprehend",
        "StartPiiEntitiesDetectionJob",
        InputDataConfig=DATA,
        OutputDataConfig=DATA,
        Mode="ONLY_OFFSETS",
        DataAccessRoleArn=ROLE,
        LanguageCode="en",
    )
    _, classifier = call(
        "comprehend",
        "CreateDocumentClassifier",
        DocumentClassifierName="name",
        VersionName="1",
        DataAccessRoleArn=ROLE,
        InputDataConfig=DATA,
        LanguageCode="en",
    )

    path = "PiiEntitiesDetectionJobProperties.JobStatus"
    seen = see(call, "comprehend", "DescribePiiEntitiesDetectionJob", path, JobId=job["JobId"])
    assert seen[-1] == "COMPLETED"
    path = "DocumentClassifierProperties.Status"
    assert see(call, "comprehend", "DescribeDocumentClassifier", path, **classifier) == ["TRAINED"] * 4


def test_a_run_of_databrew(call: Call) -> None:
    call("databrew", "CreateDataset", Name="data", Input={"S3InputDefinition": {"Bucket": "bucket"}})
    job = {"Name": "job", "DatasetName": "data", "RoleArn": ROLE, "OutputLocation": {"Bucket": "bucket"}}
    call("databrew", "CreateProfileJob", **job)
    _, run = call("databrew", "StartJobRun", Name="job")

    assert see(call, "databrew", "DescribeJobRun", "State", Name="job", **run)[:2] == ["RUNNING", "SUCCEEDED"]
    assert call("databrew", "StartJobRun", Name="unknown")[0] == 404
    assert call("databrew", "DescribeJobRun", Name="job", RunId="unknown")[0] == 404


@pytest.mark.parametrize(("kind", "end"), [("full-load", "stopped"), ("cdc", "running")])
def test_a_task_of_dms(call: Call, kind: str, end: str) -> None:
    _, made = call("dms", "CreateReplicationTask", MigrationType=kind, **MIGRATION)
    task = made["ReplicationTask"]["ReplicationTaskArn"]
    path = "ReplicationTasks[0].Status"
    assert see(call, "dms", "DescribeReplicationTasks", path, Filters=[])[-1] == "ready"

    call("dms", "StartReplicationTask", ReplicationTaskArn=task, StartReplicationTaskType="start-replication")
    assert see(call, "dms", "DescribeReplicationTasks", path, Filters=[])[-1] == end
    call("dms", "DeleteReplicationTask", ReplicationTaskArn=task)


def test_a_cluster_of_emr_and_its_steps(call: Call) -> None:
    _, cluster = call("emr", "RunJobFlow", **CLUSTER, Steps=[STEP, STEP])
    described = {"ClusterId": cluster["JobFlowId"]}

    steps = see(call, "emr", "ListSteps", "Steps[].Status.State", **described)
    assert steps[-1] == ["COMPLETED", "COMPLETED"]
    assert see(call, "emr", "DescribeCluster", "Cluster.Status.State", **described)[:2] == [
        "TERMINATING",
        "TERMINATED",
    ]


def test_a_cluster_of_emr_that_stays_waits_for_more_steps(call: Call) -> None:
    _, cluster = call("emr", "RunJobFlow", Name="it", Instances={"KeepJobFlowAliveWhenNoSteps": True})
    described = {"ClusterId": cluster["JobFlowId"]}
    path = "Cluster.Status.State"
    assert see(call, "emr", "DescribeCluster", path, **described) == ["WAITING"] * 4

    call("emr", "AddJobFlowSteps", JobFlowId=cluster["JobFlowId"], Steps=[STEP])
    assert see(call, "emr", "DescribeCluster", path, **described)[-1] == "WAITING"


def test_a_job_of_emr_containers(call: Call) -> None:
    provider = {"type": "EKS", "id": "eks", "info": {"eksInfo": {"namespace": "default"}}}
    _, made = call("emr-containers", "CreateVirtualCluster", name="cluster", containerProvider=provider)
    _, job = call(
        "emr-containers",
        "StartJobRun",
        virtualClusterId=made["id"],
        name="job",
        executionRoleArn=ROLE,
        releaseLabel="emr-6.3.0-latest",
        jobDriver={},
        clientToken="token",
    )

    run = {"virtualClusterId": made["id"], "id": job["id"]}
    assert see(call, "emr-containers", "DescribeJobRun", "jobRun.state", **run) == ["COMPLETED"] * 4


def test_a_job_of_glue(call: Call) -> None:
    call("glue", "CreateJob", Name="job", Role=ROLE, Command={"Name": "glueetl"})
    _, run = call("glue", "StartJobRun", JobName="job")

    seen = see(call, "glue", "GetJobRun", "JobRun.JobRunState", JobName="job", RunId=run["JobRunId"])
    assert seen == ["RUNNING", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]


def test_a_crawler_of_glue(call: Call) -> None:
    targets = {"S3Targets": [{"Path": "s3://bucket/key"}]}
    call("glue", "CreateCrawler", Name="crawler", Role=ROLE, DatabaseName="base", Targets=targets)
    call("glue", "StartCrawler", Name="crawler")

    assert see(call, "glue", "GetCrawler", "Crawler.State", Name="crawler")[-1] == "READY"
    _, metrics = call("glue", "GetCrawlerMetrics")
    assert [each["CrawlerName"] for each in metrics["CrawlerMetricsList"]] == ["crawler"]


def test_an_application_for_flink(call: Call) -> None:
    application = {"RuntimeEnvironment": "FLINK-1_20", "ServiceExecutionRole": ROLE}
    call("kinesisanalyticsv2", "CreateApplication", ApplicationName="name", **application)

    path = "ApplicationDetail.ApplicationStatus"
    seen = see(call, "kinesisanalyticsv2", "DescribeApplication", path, ApplicationName="name")
    assert seen == ["READY"] * 4


def test_a_statement_of_redshift(call: Call) -> None:
    _, made = call("redshift-data", "ExecuteStatement", Sql="SELECT 1", Database="dev")

    assert see(call, "redshift-data", "DescribeStatement", "Status", Id=made["Id"]) == ["FINISHED"] * 4


def test_every_path_through_states_has_a_test() -> None:
    """Each service of the tables is called above; what moto renames breaks the test of its service."""
    source = Path(__file__).read_text()

    for service in (*states.AT_ONCE, *states.FOR_EVER):
        assert re.search(rf'see\(call, "{service}"', source), service


def test_a_state_lasts_a_second(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(states.EACH_SECOND, "seconds", 1)
    _, made = call("redshift-data", "ExecuteStatement", Sql="SELECT 1", Database="dev")

    assert see(call, "redshift-data", "DescribeStatement", "Status", Id=made["Id"]) == ["STARTED"] * 4
