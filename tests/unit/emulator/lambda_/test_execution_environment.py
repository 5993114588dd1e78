"""A function's life in an execution environment, with real processes."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from windtunnel_emulator.lambda_ import interpreter
from windtunnel_emulator.lambda_.execution_environment import ExecutionEnvironment, FunctionVersion, Result
from windtunnel_emulator.lambda_.faults import InitFailed
from windtunnel_emulator.lambda_.runtime_api import Invocation

REQUEST_ID = "8f5a6f2e-5b0b-4f6a-9d3c-0a1b2c3d4e5f"

# What is waited for takes milliseconds.
WAIT_SECONDS = 5


class Driver:
    """Drives one execution environment from a test that is not asynchronous."""

    def __init__(self, runner: asyncio.Runner, environment: ExecutionEnvironment) -> None:
        self._runner = runner
        self.environment = environment

    def invoke(self, event: str = "{}") -> Result:
        invocation = Invocation(REQUEST_ID, event.encode(), "arn:of:the:function", "Root=1-2-3")
        return self._runner.run(self.environment.invoke(invocation))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def stop(self) -> None:
        self._runner.run(self.environment.stop(drain=False))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where environments make their temporary directories."""
    directory = tmp_path / "scratch"
    directory.mkdir()
    return directory


@pytest.fixture
def start(
    runner: asyncio.Runner, python: interpreter.Interpreter, tmp_path: Path, scratch: Path
) -> Iterator[Callable[..., Driver]]:
    """Start an environment for a function given as source; keywords override its settings."""
    drivers: list[Driver] = []

    def start(source: str, init_timeout_seconds: float = 10.0, **settings: Any) -> Driver:
        code = tmp_path / f"code-{len(drivers)}"
        code.mkdir()
        (code / "function.py").write_text(dedent(source))
        function = FunctionVersion(
            handler="function.handler",
            version="$LATEST",
            runtime=python.runtime,
            code=code,
            layers=None,
            variables={},
            timeout_seconds=10,
            memory_size_mb=128,
        )
        environment = ExecutionEnvironment(
            replace(function, **settings), python, scratch, init_timeout_seconds
        )
        driver = Driver(runner, environment)
        drivers.append(driver)
        runner.run(environment.start())
        return driver

    yield start
    for driver in drivers:
        driver.stop()


Start = Callable[..., Driver]


def value(result: Result) -> Any:
    assert not result.is_error, result
    return json.loads(result.payload)


def error(result: Result) -> Any:
    assert result.is_error, result
    return json.loads(result.payload)


def report(result: Result) -> dict[str, str]:
    """Return the fields of the REPORT line, the last one of a log."""
    line = result.log.splitlines()[-1]
    return dict(field.split(": ", 1) for field in line.removeprefix("REPORT ").split("\t") if field)


async def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not so after {WAIT_SECONDS} s: {what}"
        await asyncio.sleep(0.005)


def state(pid: int) -> str:
    """Return the kernel's letter for the state of a process, such as T for stopped; Z also if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def is_running(pid: int) -> bool:
    # A process is a zombie already while other threads of it are still ending.
    return state(pid) != "Z" or len(list(Path(f"/proc/{pid}/task").glob("*"))) > 1


def assert_gone(pid: int) -> None:
    asyncio.run(wait_until(lambda: not is_running(pid), f"process {pid} is gone"))


class TestSuccess:
    def test_event_and_context_arrive(self, start: Start) -> None:
        function = start(
            """
            def handler(event, context):
                return [event, context.aws_request_id, context.invoked_function_arn]
            """
        )
        assert value(function.invoke('{"ä": [1, null]}')) == [
            {"ä": [1, None]},
            REQUEST_ID,
            "arn:of:the:function",
        ]

    def test_remaining_time_is_the_timeout(self, start: Start) -> None:
        function = start(
            "def handler(event, context): return context.get_remaining_time_in_millis()", timeout_seconds=7
        )
        remaining = value(function.invoke())
        assert 6000 < remaining <= 7000

    def test_log_has_the_lines_of_aws(self, start: Start) -> None:
        result = start("def handler(event, context): print('one'); print('two', end='')").invoke()
        start_line, one, two, end_line, report_line = result.log.splitlines()
        assert [start_line, one, two, end_line] == [
            f"START RequestId: {REQUEST_ID} Version: $LATEST",
            "one",
            "two",
            f"END RequestId: {REQUEST_ID}",
        ]
        assert re.fullmatch(
            rf"REPORT RequestId: {REQUEST_ID}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
            r"Memory Size: 128 MB\tMax Memory Used: [1-9]\d* MB\tInit Duration: \d+\.\d\d ms\t",
            report_line,
        )

    def test_process_is_reused(self, start: Start) -> None:
        function = start(
            """
            import os
            calls = 0
            def handler(event, context):
                global calls
                calls += 1
                return [calls, os.getpid()]
            """
        )
        first, second = function.invoke(), function.invoke()
        assert [calls for calls, _ in (value(first), value(second))] == [1, 2]
        assert value(first)[1] == value(second)[1]
        assert "Init Duration" in report(first)
        assert "Init Duration" not in report(second)

    def test_largest_response_passes(self, start: Start) -> None:
        # two quotes and 6 291 554 letters make AWS's 6 291 556 bytes
        result = start("def handler(event, context): return 'x' * 6_291_554", memory_size_mb=512).invoke()
        assert len(result.payload) == 6_291_556
        assert not result.is_error


class TestErrors:
    def test_exception_of_the_handler(self, start: Start) -> None:
        result = start("def handler(event, context):\n    raise ValueError('boom')\n").invoke()
        document = error(result)
        trace = document.pop("stackTrace")
        assert document == {"errorMessage": "boom", "errorType": "ValueError", "requestId": REQUEST_ID}
        line = 'File "/var/task/function.py", line 2, in handler\n'
        assert trace[-1] == f"  {line}    raise ValueError('boom')\n"
        assert line in result.log
        assert "[ERROR] ValueError: boom\nTraceback (most recent call last):\n" in result.log
        assert "Status" not in report(result)

    def test_handler_that_failed_is_warm(self, start: Start) -> None:
        function = start(
            """
            import os
            def handler(event, context):
                if event:
                    raise ValueError
                return os.getpid()
            """
        )
        before = value(function.invoke())
        function.invoke('{"fail": true}')
        assert value(function.invoke()) == before

    def test_response_that_is_no_json(self, start: Start) -> None:
        document = error(start("def handler(event, context): return {1, 2}").invoke())
        assert document["errorType"] == "Runtime.MarshalError"

    def test_response_too_large(self, start: Start) -> None:
        function = start("def handler(event, context): return 'x' * event['size']", memory_size_mb=512)
        result = function.invoke('{"size": 6291555}')
        assert error(result) == {
            "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            "errorType": "Function.ResponseSizeTooLarge",
        }
        assert "Http response code: 413" in result.log
        assert value(function.invoke('{"size": 1}')) == "x"

    def test_error_document_with_long_trace(self, start: Start) -> None:
        """The client sends the trace in a header as well; it is longer than common servers take."""
        result = start("def handler(event, context): raise ValueError('x' * 300_000)").invoke()
        assert error(result)["errorMessage"] == "x" * 300_000


INIT_FAILURES = {
    "import": ("import no_such_module", "Runtime.ImportModuleError", "Unable to import module 'function'"),
    "syntax": ("def handler(:", "Runtime.UserCodeSyntaxError", "Syntax error in module 'function'"),
    "missing": ("other = None", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'function'"),
    "raise": ("1 / 0", "ZeroDivisionError", "division by zero"),
    "recursion": ("def f(): f()\nf()", "RecursionError", "maximum recursion depth exceeded"),
    "exit": ("import sys; sys.exit(3)", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
    "memory": ("x = b'x' * 2**28", "Runtime.ExitError", "Runtime exited with error: signal: killed"),
}


class TestInitFailure:
    @pytest.mark.parametrize(("source", "error_type", "message"), INIT_FAILURES.values(), ids=INIT_FAILURES)
    def test_first_invocation_reports_it(
        self, start: Start, source: str, error_type: str, message: str
    ) -> None:
        result = start(source).invoke()
        document = error(result)
        assert document["errorType"] == error_type
        assert message in str(document["errorMessage"])
        assert report(result)["Status"] == "error"

    def test_it_is_tried_twice_as_on_aws(self, start: Start) -> None:
        log = start("print('loading'); import no_such_module").invoke().log
        assert [line.split(":")[0] for line in log.splitlines() if not line.startswith("[WARNING]")] == [
            "loading",
            "[ERROR] Runtime.ImportModuleError",
            "Traceback (most recent call last)",
            "INIT_REPORT Init Duration",
            "loading",
            "[ERROR] Runtime.ImportModuleError",
            "Traceback (most recent call last)",
            "INIT_REPORT Init Duration",
            "START RequestId",
            "END RequestId",
            "REPORT RequestId",
        ]
        assert re.findall(r"Phase: .*", log) == [
            "Phase: init\tStatus: error\tError Type: Runtime.ImportModuleError",
            "Phase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError",
        ]

    def test_slow_init_has_the_functions_timeout_in_the_second_try(self, start: Start) -> None:
        function = start(
            "import time; time.sleep(0.5)\ndef handler(event, context): return 'ready'",
            init_timeout_seconds=0.2,
        )
        result = function.invoke()
        assert value(result) == "ready"
        assert "\tPhase: init\tStatus: timeout\n" in result.log
        assert "Init Duration" not in report(result)

    def test_init_that_never_ends_times_out(self, start: Start) -> None:
        function = start("import time; time.sleep(60)", init_timeout_seconds=0.2, timeout_seconds=1)
        result = function.invoke()
        assert error(result)["errorType"] == "Sandbox.Timedout"
        assert "\tPhase: invoke\tStatus: timeout\n" in result.log


class TestTimeout:
    SOURCE = """
        import os, pathlib, subprocess, tempfile, time
        marker = pathlib.Path(tempfile.gettempdir(), "marker")
        def handler(event, context):
            if not event:
                return [os.getpid(), marker.exists()]
            child = subprocess.Popen(["sleep", "60"])
            marker.touch()
            print("pids", os.getpid(), child.pid)
            time.sleep(60)
        """

    def test_answer_and_log(self, start: Start) -> None:
        started = time.monotonic()
        result = start(self.SOURCE, timeout_seconds=1).invoke('{"hang": true}')
        assert time.monotonic() - started < 2
        assert error(result) == {
            "errorType": "Sandbox.Timedout",
            "errorMessage": f"RequestId: {REQUEST_ID} Error: Task timed out after 1.00 seconds",
        }
        assert re.search(
            rf"pids .*\n\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z {REQUEST_ID} "
            r"Task timed out after 1\.00 seconds\n\nEND ",
            result.log,
        )
        assert report(result)["Duration"] == "1000.00 ms"
        assert report(result)["Status"] == "timeout"

    def test_whole_process_group_is_killed(self, start: Start) -> None:
        log = start(self.SOURCE, timeout_seconds=1).invoke('{"hang": true}').log
        pids = re.search(r"pids (\d+) (\d+)", log)
        assert pids
        for pid in pids.groups():
            assert_gone(int(pid))

    def test_next_invocation_has_a_new_process_and_the_old_files(self, start: Start) -> None:
        function = start(self.SOURCE, timeout_seconds=1)
        first_pid = value(function.invoke())[0]
        function.invoke('{"hang": true}')
        pid, marker_exists = value(function.invoke())
        assert pid != first_pid
        assert marker_exists


EXITS = {
    "sys.exit": ("import sys; sys.exit(1)", "Runtime exited with error: exit status 1"),
    "os._exit": ("import os; os._exit(42)", "Runtime exited with error: exit status 42"),
    "exit 0": ("import os; os._exit(0)", "Runtime exited without providing a reason"),
    "killed": ("import os; os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    "crash": ("import os; os.abort()", "Runtime exited with error: signal: aborted"),
}


class TestExit:
    @pytest.mark.parametrize(("statement", "reason"), EXITS.values(), ids=EXITS)
    def test_answer_and_log(self, start: Start, statement: str, reason: str) -> None:
        result = start(f"def handler(event, context): print('last words'); {statement}").invoke()
        assert error(result) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {REQUEST_ID} Error: {reason}",
        }
        lines = result.log.splitlines()
        assert lines[1] == "last words"
        assert lines[-4:-1] == [
            f"RequestId: {REQUEST_ID} Error: {reason}",
            "Runtime.ExitError",
            f"END RequestId: {REQUEST_ID}",
        ]
        assert report(result)["Error Type"] == "Runtime.ExitError"

    def test_process_killed_between_invocations_is_replaced(self, start: Start) -> None:
        function = start("import os\ndef handler(event, context): return os.getpid()")
        pid = value(function.invoke())
        os.kill(pid, 9)
        assert_gone(pid)
        assert value(function.invoke()) != pid


class TestMemory:
    def test_too_much_memory_kills(self, start: Start) -> None:
        function = start(
            """
            def handler(event, context):
                hoard = []
                while True:
                    hoard.append(b"x" * 2**20)
            """
        )
        result = function.invoke()
        assert error(result) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {REQUEST_ID} Error: Runtime exited with error: signal: killed",
        }
        assert report(result)["Error Type"] == "Runtime.OutOfMemory"
        assert report(result)["Max Memory Used"] == "128 MB"

    def test_memory_given_back_at_once_counts(self, start: Start) -> None:
        result = start("def handler(event, context): b'x' * 2**28").invoke()
        assert report(result)["Error Type"] == "Runtime.OutOfMemory"

    def test_memory_of_children_counts(self, start: Start) -> None:
        function = start(
            """
            import subprocess, sys
            def handler(event, context):
                subprocess.run([sys.executable, "-c", "import time; x = b'x' * 2**28; time.sleep(60)"])
            """
        )
        assert report(function.invoke())["Error Type"] == "Runtime.OutOfMemory"

    def test_memory_used_is_measured(self, start: Start) -> None:
        source = "def handler(event, context): b'x' * (event['mib'] * 2**20)"
        function = start(source, memory_size_mb=512)
        little = int(report(function.invoke('{"mib": 0}'))["Max Memory Used"].removesuffix(" MB"))
        much = int(report(function.invoke('{"mib": 100}'))["Max Memory Used"].removesuffix(" MB"))
        assert 95 <= much - little <= 110


class TestOutput:
    def test_megabytes_of_it_are_bounded_and_the_end_is_kept(self, start: Start) -> None:
        function = start(
            """
            import os
            def handler(event, context):
                for number in range(200):
                    os.write(1, b"%d " % number + b"x" * 100_000 + b"\\n")
                print("the last line")
            """
        )
        result = function.invoke()
        assert value(result) is None
        assert result.log.startswith(f"START RequestId: {REQUEST_ID} Version: $LATEST\n0 xxx")
        assert re.search(r"\n\[\d+ bytes of output were dropped here\]\n", result.log)
        assert "\nthe last line\nEND RequestId" in result.log
        assert len(result.log) < 9_000_000

    def test_output_does_not_leak_into_the_next_invocation(self, start: Start) -> None:
        function = start("def handler(event, context): print(event)")
        assert "first" in function.invoke('"first"').log
        assert "first" not in function.invoke('"second"').log


class TestBetweenInvocations:
    def test_process_stands_still(self, start: Start) -> None:
        """AWS freezes an environment: a thread that goes on after the answer only seems to work elsewhere."""
        function = start("import os\ndef handler(event, context): return os.getpid()")
        pid = value(function.invoke())
        function.run(wait_until(lambda: state(pid) == "T", "the process is stopped"))
        assert value(function.invoke()) == pid


class TestProcessVariables:
    ENVIRON = "import os\ndef handler(event, context): return dict(os.environ)"

    def test_nothing_is_inherited(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OF_THE_EMULATOR", "secret")
        environ = value(start(self.ENVIRON, variables={"_HANDLER": "function.handler"}).invoke())
        assert set(environ) - {"LC_CTYPE"} == {
            "_HANDLER",
            "_X_AMZN_TRACE_ID",
            "AWS_EXECUTION_ENV",
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_CONFIG_FILE",
            "AWS_SHARED_CREDENTIALS_FILE",
            "LAMBDA_TASK_ROOT",
            "LANG",
            "LD_LIBRARY_PATH",
            "PATH",
            "PWD",
            "PYTHONPATH",
            "TMPDIR",
        }
        assert environ["_X_AMZN_TRACE_ID"] == "Root=1-2-3"
        assert environ["PWD"] == environ["LAMBDA_TASK_ROOT"]

    def test_the_settings_of_this_user_are_not_found(self, start: Start) -> None:
        """Without HOME boto3 would read those of the user that LocalStack runs as."""
        environ = value(start(self.ENVIRON).invoke())
        assert environ["AWS_CONFIG_FILE"] == environ["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"

    def test_the_runtime_is_the_one_that_the_function_asks_for(self, start: Start, tmp_path: Path) -> None:
        site = tmp_path / "opt" / "python" / "lib" / "python3.9" / "site-packages"
        site.mkdir(parents=True)
        (site / "old.py").write_text("name = 'of 3.9'")
        source = (
            "import os, old\ndef handler(event, context): return [os.environ['AWS_EXECUTION_ENV'], old.name]"
        )
        function = start(source, runtime="python3.9", layers=tmp_path / "opt")
        assert value(function.invoke()) == ["AWS_Lambda_python3.9", "of 3.9"]

    def test_layers_come_after_the_code(self, start: Start, tmp_path: Path) -> None:
        layers = tmp_path / "opt"
        packages = layers / "python"
        (packages / "function").mkdir(parents=True)
        (packages / "helper.py").write_text("name = 'from the layer'")
        site = packages / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
        site.mkdir(parents=True)
        (site / "deep.py").write_text("name = 'from its site-packages'")
        source = """
            import os, deep, helper
            def handler(event, context):
                return [deep.name, helper.name, os.environ["PATH"], os.environ["LD_LIBRARY_PATH"]]
            """
        deep, helper, path, library_path = value(start(source, layers=layers).invoke())
        assert [deep, helper] == ["from its site-packages", "from the layer"]
        assert path.endswith(f":{layers}/bin")
        assert library_path.endswith(f":{layers}/lib")

    def test_own_python_path_is_kept(self, start: Start, tmp_path: Path) -> None:
        (tmp_path / "extra.py").write_text("name = 'extra'")
        source = "import extra\ndef handler(event, context): return extra.name"
        assert value(start(source, variables={"PYTHONPATH": str(tmp_path)}).invoke()) == "extra"


class TestWrapper:
    ANSWER = "import os\ndef handler(event, context): return os.environ.get('BY')"
    SCRIPT = '#!/bin/sh\nexport BY=wrapper\nexec "$@"\n'

    @pytest.mark.parametrize("path", ["/opt/wrapper", "{layers}/wrapper"])
    def test_one_of_a_layer_starts_the_runtime(self, start: Start, tmp_path: Path, path: str) -> None:
        wrapper = tmp_path / "wrapper"
        wrapper.write_text(self.SCRIPT)
        wrapper.chmod(0o755)
        variables = {"AWS_LAMBDA_EXEC_WRAPPER": path.format(layers=tmp_path)}
        assert value(start(self.ANSWER, variables=variables, layers=tmp_path).invoke()) == "wrapper"

    def test_one_of_the_code_starts_the_runtime(self, start: Start, tmp_path: Path) -> None:
        function = start(self.ANSWER, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrapper"})
        wrapper = tmp_path / "code-0" / "wrapper"
        wrapper.write_text(self.SCRIPT)
        wrapper.chmod(0o755)
        assert value(function.invoke()) == "wrapper"  # the Init phase is run again

    def test_without_it_the_runtime_cannot_start(self, start: Start) -> None:
        function = start(self.ANSWER, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/no/such/wrapper"})
        assert error(function.invoke()) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {REQUEST_ID} Error: Runtime exited with error: exit status 127",
        }


class TestRequiredStart:
    def test_a_failure_is_raised(self, runner: asyncio.Runner, start: Start) -> None:
        function = start("raise ValueError('never')")
        with pytest.raises(InitFailed, match="never"):
            runner.run(function.environment.start(required=True))


class TestStop:
    def test_process_and_temporary_directory_are_gone(self, start: Start, scratch: Path) -> None:
        function = start(
            "import os, tempfile\n"
            "def handler(event, context):\n"
            "    open(tempfile.gettempdir() + '/file', 'w').close()\n"
            "    return os.getpid()"
        )
        pid = value(function.invoke())
        assert [file.name for file in scratch.glob("*/*")] == ["file"]
        function.stop()
        assert_gone(pid)
        assert not list(scratch.iterdir())

    def test_invocation_under_way_may_finish(self, start: Start, scratch: Path) -> None:
        function = start("import time\ndef handler(event, context): time.sleep(0.3); return 'finished'")
        result = function.run(invoke_and_stop(function, drain=True))
        assert value(result) == "finished"
        assert not list(scratch.iterdir())

    def test_invocation_under_way_can_be_killed(self, start: Start, scratch: Path) -> None:
        function = start("import time\ndef handler(event, context): time.sleep(60)")
        result = function.run(invoke_and_stop(function, drain=False))
        assert error(result)["errorType"] == "Runtime.ExitError"
        assert not list(scratch.iterdir())


async def invoke_and_stop(function: Driver, *, drain: bool) -> Result:
    invocation = asyncio.create_task(
        function.environment.invoke(Invocation(REQUEST_ID, b"{}", "arn:of:the:function", "Root=1-2-3"))
    )
    await asyncio.sleep(0)  # lets the invocation begin
    await function.environment.stop(drain=drain)
    return await invocation
