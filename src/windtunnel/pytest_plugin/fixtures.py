"""The fixtures around a running stack."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from windtunnel.pytest_plugin.session import SESSION
from windtunnel.stack.errors import StackError

# Everything else is imported when a test wants a stack: pytest starts in other repositories, too.
if TYPE_CHECKING:
    from windtunnel.testing.function_stubs import Stub
    from windtunnel.testing.runs import DagRun
    from windtunnel.testing.stack import RunningStack

__tracebackhide__ = True  # pytest shows the test's line that failed, and not the way through here


@pytest.fixture(scope="session")
def windtunnel_settings() -> Mapping[str, str]:
    """Return more settings of the stack, by the compose file's names; they win over ``pyproject.toml``.

    A ``conftest.py`` replaces this fixture::

        @pytest.fixture(scope="session")
        def windtunnel_settings():
            return {"WEBSERVER_PORT": "8080"}
    """
    return {}


@pytest.fixture(scope="session")
def windtunnel(pytestconfig: pytest.Config, windtunnel_settings: Mapping[str, str]) -> "RunningStack":
    """Return the running stack, a :class:`windtunnel.RunningStack`; the first test that asks starts it::

    def test_imports(windtunnel):
        assert windtunnel.airflow.import_errors() == []
    """
    session = pytestconfig.stash[SESSION]
    session.overrides = windtunnel_settings
    try:
        return session.start()
    except StackError as error:
        if session.is_worker:
            # If the worker ended, that would be an error of pytest-xdist.
            pytest.fail(str(error), pytrace=False)
        # Every other test would try again.
        pytest.exit(str(error), returncode=1)


@pytest.fixture(scope="session")
def run_dag(windtunnel: "RunningStack") -> "Callable[..., DagRun]":
    """Run a DAG to its end and return the run, a :class:`windtunnel.DagRun`::

    def test_dag(run_dag):
        run = run_dag("my-dag", {"key": "value"})
        assert run.state == "success", run
    """
    return windtunnel.run_dag


@pytest.fixture(scope="session")
def aws_client(windtunnel: "RunningStack") -> Callable[[str], Any]:
    """Return a boto3 client for a service of the emulated AWS::

    def test_bucket(aws_client):
        aws_client("s3").head_bucket(Bucket="texts")
    """
    return windtunnel.aws


# Fixtures that change the stack for one test


@pytest.fixture
def _cleanup(pytestconfig: pytest.Config) -> Iterator[ExitStack]:
    """Undo after the test what it has set; if that fails, the stack is unclean."""
    try:
        with ExitStack() as cleanup:
            yield cleanup
    except Exception:
        pytestconfig.stash[SESSION].mark_unclean()
        raise


@pytest.fixture
def set_connection(windtunnel: "RunningStack", _cleanup: ExitStack) -> Callable[..., None]:
    """Set a connection of Airflow's for this test, in place of any other of its id::

    def test_dag(run_dag, set_connection):
        set_connection("db", "postgres", host="db.test", password="secret")
    """
    return lambda *arguments, **fields: _cleanup.enter_context(windtunnel.connection(*arguments, **fields))


@pytest.fixture
def set_variable(windtunnel: "RunningStack", _cleanup: ExitStack) -> Callable[[str, Any], None]:
    """Set a variable of Airflow's for this test, in place of any other of its key::

    def test_dag(run_dag, set_variable):
        set_variable("threshold", 3)
    """
    return lambda key, value: _cleanup.enter_context(windtunnel.variable(key, value))


@pytest.fixture
def set_pool(windtunnel: "RunningStack", _cleanup: ExitStack) -> Callable[[str, int], None]:
    """Set a pool of Airflow's for this test, or the number of slots of one that is there::

    def test_dag(run_dag, set_pool):
        set_pool("texts", 2)
    """
    return lambda name, slots: _cleanup.enter_context(windtunnel.pool(name, slots))


@pytest.fixture
def pause_dag(windtunnel: "RunningStack", _cleanup: ExitStack) -> Callable[[str], None]:
    """Pause a DAG for this test::

    def test_dag(run_dag, pause_dag):
        pause_dag("every-minute")
    """
    return lambda dag_id: _cleanup.enter_context(windtunnel.paused(dag_id))


@pytest.fixture
def unpause_dag(windtunnel: "RunningStack", _cleanup: ExitStack) -> Callable[[str], None]:
    """Unpause a DAG for this test::

    def test_dag(run_dag, unpause_dag):
        unpause_dag("every-minute")
    """
    return lambda dag_id: _cleanup.enter_context(windtunnel.unpaused(dag_id))


@pytest.fixture
def deploy_function(windtunnel: "RunningStack", _cleanup: ExitStack) -> Callable[[Path | str], str]:
    """Deploy the Lambda function of a folder for this test, and return its name::

    def test_dag(run_dag, deploy_function):
        name = deploy_function("tests/lambdas/slow_count")
    """
    return lambda folder: _cleanup.enter_context(windtunnel.deploy_function(folder))


@pytest.fixture
def stub_function(windtunnel: "RunningStack", _cleanup: ExitStack) -> "Callable[..., Stub]":
    """Let a Lambda function answer what this test says, or fail; return a :class:`windtunnel.Stub`::

    def test_dag(run_dag, stub_function):
        count_words = stub_function("count-words", 3)    # or raises=ValueError("no text")
        run_dag("hourly-summary")
        assert count_words.events == [{"key": "in/a.txt"}]
    """
    return lambda *arguments, **named: _cleanup.enter_context(windtunnel.stub_function(*arguments, **named))
