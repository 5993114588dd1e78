"""Lambda functions on LocalStack under the executor `process`, seen from outside through its API.

Every function made here begins with `windtunnel-runtime-` and is deleted, with its log group, before and
after. Details of an environment are proven in tests/unit/emulator; this is what LocalStack has a part in.
"""

import base64
import io
import json
import os
import re
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from textwrap import dedent
from typing import Any

import pytest
from botocore.exceptions import ClientError

PREFIX = "windtunnel-runtime-"
ROLE = "arn:aws:iam::000000000000:role/windtunnel-runtime"
WAIT_SECONDS = 15

# AWS's rule for a synchronous event.
MAX_REQUEST_BYTES = 6_291_456

STREAM_NAME = r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}"

Create = Callable[..., str]

# One function for everything that needs no function of its own; the event says what to do.
PROBE = """
    import os, pathlib, sys, tempfile, time

    calls = 0

    def handler(event, context):
        global calls
        calls += 1
        print("doing", event)
        return globals()[event["do"]](event, context)

    def echo(event, context):
        return event

    def fail(event, context):
        raise ValueError("boom")

    def leave(event, context):
        sys.exit(1)

    def hoard(event, context):
        return len(b"x" * 2**28)

    def hang(event, context):
        time.sleep(60)

    def unserialisable(event, context):
        return {1, 2}

    def large(event, context):
        return "x" * event["size"]

    def chatter(event, context):
        for number in range(1000):
            print("line", number, "x" * 1000)

    def whoami(event, context):
        return {"pid": os.getpid(), "calls": calls}

    def environ(event, context):
        return dict(os.environ)

    def remember(event, context):
        pathlib.Path(tempfile.gettempdir(), "note").write_text("kept")

    def recall(event, context):
        note = pathlib.Path(tempfile.gettempdir(), "note")
        return note.read_text() if note.exists() else None
    """


def package(files: dict[str, str]) -> bytes:
    """Return a zip file of sources by path."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, source in files.items():
            archive.writestr(path, dedent(source))
    return buffer.getvalue()


def wait_until(found: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if (result := found()) is not None:
            return result
        time.sleep(0.05)
    raise AssertionError(f"not so after {WAIT_SECONDS} s: {what}")


class Answer:
    """What a caller of Invoke gets."""

    def __init__(self, response: dict[str, Any]) -> None:
        self.function_error = response.get("FunctionError")
        self.payload = json.loads(response["Payload"].read() or "null")
        self.tail = base64.b64decode(response.get("LogResult", "")).decode()
        self.request_id = response["ResponseMetadata"]["RequestId"]

    @property
    def value(self) -> Any:
        assert self.function_error is None, (self.payload, self.tail)
        return self.payload

    @property
    def error(self) -> Any:
        assert self.function_error == "Unhandled", (self.payload, self.tail)
        return self.payload


class Functions:
    """Creates functions from source and deletes them."""

    def __init__(self, lambda_client: Any, logs_client: Any) -> None:
        self.client = lambda_client
        self.logs = logs_client
        # The one that there is; the demo's function has no other.
        settings = lambda_client.get_function_configuration(FunctionName="airflow-test")
        self.runtime: str = settings["Runtime"]

    def create(self, source: str, *, wait: bool = True, **settings: Any) -> str:
        name = PREFIX + uuid.uuid4().hex[:12]
        self.client.create_function(
            FunctionName=name,
            Role=ROLE,
            Handler="function.handler",
            Code={"ZipFile": package({"function.py": source})},
            **{"Runtime": self.runtime, **settings},
        )
        if wait:
            self.wait_for("function_active_v2", name)
        return name

    def wait_for(self, waiter: str, name: str) -> None:
        self.client.get_waiter(waiter).wait(
            FunctionName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": WAIT_SECONDS * 10}
        )

    def invoke(self, name: str, event: object = None, **options: Any) -> Answer:
        return Answer(
            self.client.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail", **options)
        )

    def update(self, name: str, source: str) -> None:
        self.client.update_function_code(FunctionName=name, ZipFile=package({"function.py": source}))
        self.wait_for("function_updated_v2", name)

    def cloudwatch(self, name: str, until: str) -> dict[str, str]:
        """Return the log of a function by stream, once it has a line with the given text."""

        def read() -> dict[str, str] | None:
            group = f"/aws/lambda/{name}"
            try:
                streams = self.logs.describe_log_streams(logGroupName=group)["logStreams"]
            except self.logs.exceptions.ResourceNotFoundException:
                return None
            texts = {}
            for stream in streams:
                events = self.logs.get_log_events(
                    logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
                )["events"]
                texts[stream["logStreamName"]] = "".join(event["message"] for event in events)
            return texts if until in "".join(texts.values()) else None

        found: dict[str, str] = wait_until(read, f"{until!r} in the log of {name}")
        return found

    def delete_all(self) -> None:
        for page in self.client.get_paginator("list_functions").paginate():
            for function in page["Functions"]:
                if function["FunctionName"].startswith(PREFIX):
                    self.client.delete_function(FunctionName=function["FunctionName"])
        groups = self.logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{PREFIX}")["logGroups"]
        for group in groups:
            with suppress(self.logs.exceptions.ResourceNotFoundException):
                self.logs.delete_log_group(logGroupName=group["logGroupName"])


@pytest.fixture(scope="module")
def functions(lambda_client: Any, logs_client: Any) -> Iterator[Functions]:
    functions = Functions(lambda_client, logs_client)
    functions.delete_all()
    yield functions
    functions.delete_all()


@pytest.fixture(scope="module")
def probe(functions: Functions) -> str:
    return functions.create(PROBE, Timeout=2, MemorySize=128)


def report(tail: str) -> dict[str, str]:
    line = tail.splitlines()[-1]
    return dict(field.split(": ", 1) for field in line.removeprefix("REPORT ").split("\t") if field)


class TestAnswers:
    def test_json_passes_through(self, functions: Functions, probe: str) -> None:
        event = {"do": "echo", "text": "ä\u2028\U0001f600", "numbers": [1, 2.5, None, True]}
        assert functions.invoke(probe, event).value == event

    def test_exception(self, functions: Functions, probe: str) -> None:
        answer = functions.invoke(probe, {"do": "fail"})
        trace = answer.error.pop("stackTrace")
        assert answer.error == {
            "errorMessage": "boom",
            "errorType": "ValueError",
            "requestId": answer.request_id,
        }
        assert trace[-1].endswith('in fail\n    raise ValueError("boom")\n')

    @pytest.mark.parametrize(
        ("action", "reason", "reported"),
        [
            ("leave", "exit status 1", "Runtime.ExitError"),
            ("hoard", "signal: killed", "Runtime.OutOfMemory"),
        ],
    )
    def test_end_of_the_process(
        self, functions: Functions, probe: str, action: str, reason: str, reported: str
    ) -> None:
        answer = functions.invoke(probe, {"do": action})
        assert answer.error == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {answer.request_id} Error: Runtime exited with error: {reason}",
        }
        assert report(answer.tail)["Error Type"] == reported

    def test_timeout(self, functions: Functions, probe: str) -> None:
        started = time.monotonic()
        answer = functions.invoke(probe, {"do": "hang"})
        assert 2 <= time.monotonic() - started < 4
        assert answer.error == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {answer.request_id} Error: Task timed out after 2.00 seconds",
        }
        assert f"Z {answer.request_id} Task timed out after 2.00 seconds\n" in answer.tail

    def test_unserialisable_response(self, functions: Functions, probe: str) -> None:
        answer = functions.invoke(probe, {"do": "unserialisable"})
        assert answer.error["errorType"] == "Runtime.MarshalError"

    def test_response_too_large(self, functions: Functions, probe: str) -> None:
        answer = functions.invoke(probe, {"do": "large", "size": 6_300_000})
        assert answer.error["errorType"] == "Function.ResponseSizeTooLarge"

    def test_request_too_large(self, functions: Functions, probe: str) -> None:
        with pytest.raises(ClientError) as refusal:
            functions.invoke(probe, "x" * MAX_REQUEST_BYTES)
        assert refusal.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
        assert "6291458 byte payload is too large for the RequestResponse invocation type" in str(
            refusal.value
        )

    def test_dry_run_runs_nothing(self, functions: Functions, probe: str) -> None:
        before = functions.invoke(probe, {"do": "whoami"}).value
        response = functions.client.invoke(FunctionName=probe, InvocationType="DryRun")
        assert response["StatusCode"] == 204
        assert functions.invoke(probe, {"do": "whoami"}).value == {**before, "calls": before["calls"] + 1}

    @pytest.mark.parametrize(
        ("source", "error_type"),
        [
            ("import no_such_module", "Runtime.ImportModuleError"),
            ("def handler(:", "Runtime.UserCodeSyntaxError"),
            ("", "Runtime.HandlerNotFound"),
            ("import os; os._exit(3)", "Runtime.ExitError"),
        ],
    )
    def test_function_that_does_not_load(self, functions: Functions, source: str, error_type: str) -> None:
        name = functions.create(source)
        answer = functions.invoke(name)
        assert answer.error["errorType"] == error_type
        assert answer.tail.count("INIT_REPORT") == 2


class TestState:
    def settled(self, functions: Functions, name: str) -> dict[str, Any]:
        """Return the configuration, once neither the function nor an update of it is under way."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = functions.client.get_function_configuration(FunctionName=name)
            pending = found["State"] == "Pending" or found["LastUpdateStatus"] == "InProgress"
            return None if pending else found

        configuration: dict[str, Any] = wait_until(look, f"{name} is settled")
        return configuration

    def test_another_python_runs_with_the_one_that_is_there(self, functions: Functions) -> None:
        source = "import os\ndef handler(event, context): return os.environ['AWS_EXECUTION_ENV']"
        name = functions.create(source, Runtime="python3.12")
        assert functions.invoke(name).value == "AWS_Lambda_python3.12"

    def test_a_runtime_that_is_no_python_fails_with_a_reason(self, functions: Functions) -> None:
        name = functions.create("", wait=False, Runtime="nodejs22.x")
        configuration = self.settled(functions, name)
        assert configuration["State"] == "Failed"
        reason = f"wants the runtime nodejs22.x, but only {functions.runtime} is available"
        assert reason in configuration["StateReason"]

        functions.client.delete_function(FunctionName=name)
        with pytest.raises(functions.client.exceptions.ResourceNotFoundException):
            functions.client.get_function(FunctionName=name)

    def test_a_failed_function_can_be_corrected(self, functions: Functions) -> None:
        name = functions.create("def handler(event, context): return 1", wait=False, Runtime="nodejs22.x")
        assert self.settled(functions, name)["State"] == "Failed"

        functions.client.update_function_configuration(FunctionName=name, Runtime=functions.runtime)

        configuration = self.settled(functions, name)
        assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
        assert functions.invoke(name).value == 1

    def test_a_failed_update_leaves_the_function_active(self, functions: Functions) -> None:
        name = functions.create("def handler(event, context): return 1")

        functions.client.update_function_configuration(FunctionName=name, Runtime="nodejs22.x")

        configuration = self.settled(functions, name)
        assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Failed")
        assert "wants the runtime nodejs22.x" in configuration["LastUpdateStatusReason"]
        assert functions.invoke(name).value == 1

    def test_provisioned_concurrency_that_does_not_load_is_failed_and_calls_are_served_on_demand(
        self, functions: Functions
    ) -> None:
        source = """
            import os
            if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "provisioned-concurrency":
                raise ValueError("not so")
            def handler(event, context):
                return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
            """
        client, name = functions.client, functions.create(source)
        version = {"FunctionName": name, "Qualifier": client.publish_version(FunctionName=name)["Version"]}
        client.get_waiter("published_version_active").wait(
            **version, WaiterConfig={"Delay": 0.1, "MaxAttempts": WAIT_SECONDS * 10}
        )
        client.put_provisioned_concurrency_config(**version, ProvisionedConcurrentExecutions=1)

        def settled() -> dict[str, Any] | None:
            found: dict[str, Any] = client.get_provisioned_concurrency_config(**version)
            return found if found["Status"] != "IN_PROGRESS" else None

        found = wait_until(settled, "the provisioned concurrency is settled")
        assert (found["Status"], found["StatusReason"]) == ("FAILED", "FUNCTION_ERROR_INIT_FAILURE")
        assert functions.invoke(name, Qualifier=version["Qualifier"]).value == "on-demand"


class TestEnvironments:
    def test_process_and_files_are_kept_while_warm(self, functions: Functions, probe: str) -> None:
        first = functions.invoke(probe, {"do": "whoami"}).value
        functions.invoke(probe, {"do": "remember"})
        assert functions.invoke(probe, {"do": "recall"}).value == "kept"
        second = functions.invoke(probe, {"do": "whoami"}).value
        assert second == {"pid": first["pid"], "calls": first["calls"] + 3}

    def test_timeout_costs_the_process_but_not_the_files(self, functions: Functions, probe: str) -> None:
        functions.invoke(probe, {"do": "remember"})
        before = functions.invoke(probe, {"do": "whoami"}).value
        functions.invoke(probe, {"do": "hang"})
        after = functions.invoke(probe, {"do": "whoami"}).value
        assert after["pid"] != before["pid"]
        assert after["calls"] == 1
        assert functions.invoke(probe, {"do": "recall"}).value == "kept"

    def test_calls_at_the_same_time_have_a_process_each(self, functions: Functions) -> None:
        """Each call waits until it sees all others, so it returns only if eight run at once."""
        name = functions.create(
            """
            import os, pathlib, time
            def handler(event, context):
                meeting = pathlib.Path("/tmp", event)
                meeting.mkdir(exist_ok=True)
                (meeting / str(os.getpid())).touch()
                while len(list(meeting.iterdir())) < 8:
                    time.sleep(0.01)
                return os.getpid()
            """,
            Timeout=10,
        )
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: functions.invoke(name, name), range(8)))
        assert len({answer.value for answer in answers}) == 8

    def test_update_replaces_code_and_processes(self, functions: Functions, probe: str) -> None:
        name = functions.create("import os\ndef handler(event, context): return ['old', os.getpid()]")
        version, old_pid = functions.invoke(name).value
        functions.update(
            name,
            """
            import pathlib
            def handler(pid, context): return ["new", pathlib.Path(f"/proc/{pid}").exists()]
            """,
        )
        assert version == "old"

        def gone() -> bool | None:
            version, still_runs = functions.invoke(name, old_pid).value
            assert version == "new"
            return None if still_runs else True

        wait_until(gone, f"process {old_pid} of the old code is gone")

    def test_invocation_under_way_survives_an_update(self, functions: Functions) -> None:
        """The file is there while the old code holds it; the new code lets it go by deleting it."""
        name = functions.create(
            """
            import pathlib, time
            def handler(event, context):
                file = pathlib.Path("/tmp", context.function_name)
                if event == "look":
                    return file.exists() or None
                file.touch()
                while file.exists():
                    time.sleep(0.01)
                return "finished by the old code"
            """,
            Timeout=30,
        )
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(functions.invoke, name, "hold")
            wait_until(lambda: functions.invoke(name, "look").value, "the invocation is under way")
            functions.update(
                name,
                """
                import pathlib
                def handler(event, context):
                    pathlib.Path("/tmp", context.function_name).unlink()
                """,
            )
            assert functions.invoke(name).value is None
            assert under_way.result().value == "finished by the old code"

    def test_environment_variables(self, functions: Functions) -> None:
        name = functions.create(
            "import os\ndef handler(event, context): return dict(os.environ)",
            Environment={"Variables": {"OWN": "value", "LOCALSTACK_OWN": "kept"}},
            MemorySize=256,
        )
        environ = functions.invoke(name).value
        expected = {
            "_HANDLER": "function.handler",
            "AWS_DEFAULT_REGION": functions.client.meta.region_name,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{functions.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_REGION": functions.client.meta.region_name,
            "LOCALSTACK_OWN": "kept",
            "OWN": "value",
            "TZ": ":UTC",
        }
        assert {key: environ.get(key) for key in expected} == expected
        assert re.fullmatch(STREAM_NAME, environ["AWS_LAMBDA_LOG_STREAM_NAME"])
        assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};", environ["_X_AMZN_TRACE_ID"])
        assert environ["AWS_SESSION_TOKEN"]
        assert [key for key in environ if key.startswith("LOCALSTACK_")] == ["LOCALSTACK_OWN"]
        assert not {"LAMBDA_RUNTIME_PYTHON", "LAMBDA_RUNTIME_EXECUTOR", "EDGE_PORT"} & set(environ)

    def test_function_reaches_localstack_with_its_role(self, functions: Functions) -> None:
        name = functions.create(
            """
            import boto3
            def handler(event, context):
                return boto3.client("sts").get_caller_identity()["Arn"]
            """,
            MemorySize=256,
            Timeout=10,
        )
        assert functions.invoke(name).value.startswith(
            "arn:aws:sts::000000000000:assumed-role/windtunnel-runtime/"
        )

    def test_function_does_not_see_localstack(self, functions: Functions) -> None:
        name = functions.create(
            """
            import importlib.util
            def handler(event, context):
                return [name for name in event if importlib.util.find_spec(name)]
            """
        )
        assert functions.invoke(name, ["boto3", "localstack", "moto", "windtunnel_emulator"]).value == [
            "boto3"
        ]

    def test_layers_are_applied_in_order(self, functions: Functions) -> None:
        arns = [
            functions.client.publish_layer_version(
                LayerName=f"{PREFIX}layer-{number}", Content={"ZipFile": package(files)}
            )["LayerVersionArn"]
            for number, files in enumerate(
                [
                    {"python/first.py": "name = 'first layer'", "python/both.py": "name = 'first layer'"},
                    {f"python/lib/{functions.runtime}/site-packages/second.py": "name = 'second layer'"},
                    {"python/both.py": "name = 'last layer'"},
                ]
            )
        ]
        name = functions.create(
            """
            import both, first, second
            def handler(event, context):
                return [first.name, second.name, both.name]
            """,
            Layers=arns,
        )
        assert functions.invoke(name).value == ["first layer", "second layer", "last layer"]
        for arn in arns:
            layer, version = arn.split(":")[-2:]
            functions.client.delete_layer_version(LayerName=layer, VersionNumber=int(version))


class TestEvents:
    def test_asynchronous_events_run_beside_one_another(self, functions: Functions) -> None:
        """LocalStack by itself runs as many at once as the machine has CPUs, and four."""
        # The literal /tmp is the one place that all environments share.
        source = """
            import pathlib, time

            def handler(event, context):
                folder = pathlib.Path("/tmp", event["folder"])
                folder.mkdir(exist_ok=True)
                (folder / context.aws_request_id).touch()
                deadline = time.monotonic() + 10
                while (met := len(list(folder.iterdir()))) < event["count"] and time.monotonic() < deadline:
                    time.sleep(0.05)
                print("met", met)
            """
        count = (os.cpu_count() or 1) + 8
        name = functions.create(source, Timeout=15)

        for _ in range(count):
            functions.client.invoke(
                FunctionName=name,
                InvocationType="Event",
                Payload=json.dumps({"folder": name, "count": count}),
            )

        def met() -> list[str] | None:
            log = "".join(functions.cloudwatch(name, until="met").values())
            found = re.findall(r"met (\d+)", log)
            return found if len(found) == count else None

        assert wait_until(met, f"{count} ends in the log of {name}") == [str(count)] * count


class TestLogs:
    def test_tail_is_the_last_four_kilobytes(self, functions: Functions, probe: str) -> None:
        tail = functions.invoke(probe, {"do": "chatter"}).tail
        assert len(tail) == 4096
        assert tail.splitlines()[-1].startswith("REPORT RequestId: ")

    def test_cloudwatch_has_every_line(self, functions: Functions) -> None:
        name = functions.create(PROBE)
        answer = functions.invoke(name, {"do": "chatter"})
        streams = functions.cloudwatch(name, until=f"REPORT RequestId: {answer.request_id}")
        (stream, text), *others = streams.items()
        assert not others
        assert re.fullmatch(STREAM_NAME, stream)
        assert [line for line in text.splitlines() if line.startswith("line ")] == [
            f"line {number} {'x' * 1000}" for number in range(1000)
        ]
        assert text.startswith(f"START RequestId: {answer.request_id} Version: $LATEST\n")

    @pytest.mark.parametrize("action", ["fail", "leave", "hoard", "hang"])
    def test_what_a_failed_function_wrote_arrives(
        self, functions: Functions, probe: str, action: str
    ) -> None:
        answer = functions.invoke(probe, {"do": action, "mark": action})
        text = "".join(functions.cloudwatch(probe, until=f"REPORT RequestId: {answer.request_id}").values())
        of_this_call = text.split(f"START RequestId: {answer.request_id}")[1]
        assert f"\ndoing {{'do': '{action}', 'mark': '{action}'}}\n" in of_this_call
        assert f"\nEND RequestId: {answer.request_id}\n" in of_this_call

    def test_they_go_to_the_group_that_the_function_names(self, functions: Functions) -> None:
        group = f"/aws/lambda/{PREFIX}of-its-own"
        source = "import os\ndef handler(event, context): return os.environ['AWS_LAMBDA_LOG_GROUP_NAME']"
        name = functions.create(source, LoggingConfig={"LogGroup": group})

        assert functions.invoke(name).value == group

        assert "REPORT " in "".join(functions.cloudwatch(f"{PREFIX}of-its-own", until="REPORT ").values())
        own = functions.logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")
        assert not own["logGroups"]

    def test_event_invocation_runs_and_logs(self, functions: Functions, probe: str) -> None:
        mark = uuid.uuid4().hex
        response = functions.client.invoke(
            FunctionName=probe, InvocationType="Event", Payload=json.dumps({"do": "echo", "mark": mark})
        )
        assert response["StatusCode"] == 202
        functions.cloudwatch(probe, until=mark)

    def test_failed_event_reaches_the_failure_destination(self, functions: Functions, probe: str) -> None:
        """LocalStack's event manager acts on our results; without retries, as they would take minutes."""
        name = functions.create(PROBE)
        target = functions.client.get_function(FunctionName=probe)["Configuration"]["FunctionArn"]
        functions.client.put_function_event_invoke_config(
            FunctionName=name,
            MaximumRetryAttempts=0,
            DestinationConfig={"OnFailure": {"Destination": target}},
        )
        functions.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"do": "fail"}')
        functions.cloudwatch(probe, until="RetriesExhausted")
