"""What healthy means for each service: ``python -m windtunnel.services.probes SERVICE`` in its container.

Probes run twice a second while the stack starts. This imports next to nothing, because on two cores the
probes of five services compete with what they wait for.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping

# Exit code of a probe that fails until someone changes something. Docker takes every code but 0 as unhealthy
# and keeps the code, so `./windtunnel up` need not wait for such a service.
DEFINITE = 3

# Up to what age a heartbeat is fresh, in seconds: Airflow's default scheduler_health_check_threshold.
FRESH = 30

# How long a service waits for LocalStack, in seconds: the start period of its health check.
PATIENCE = 180

# How an answer begins that says what LocalStack does before it is healthy.
SEEDING = "still seeding: "


class Unhealthy(Exception):
    """The service does not do what it promises; the message names the part and the next step."""


class Broken(Unhealthy):
    """Unhealthy until someone changes something."""


def _get(address: str) -> bytes:
    from contextlib import closing
    from http.client import HTTPConnection

    host, _, path = address.partition("/")
    try:
        with closing(HTTPConnection(host, timeout=4)) as connection:
            connection.request("GET", f"/{path}")
            response = connection.getresponse()
            body = response.read()
    except OSError as error:
        raise Unhealthy(f"no answer from {address}: {error}") from error
    if response.status != 200:
        raise Unhealthy(f"{address} answers {response.status}")
    return body


def webserver(environment: Mapping[str, str], _: float) -> None:
    """The REST API answers, and the execution API, which running tasks talk to."""
    address = f"127.0.0.1:{environment['AIRFLOW__API__PORT']}"
    _get(f"{address}/api/v2/version")
    # Airflow builds this API at its first request, which takes 2 s: better now than in the first task.
    _get(f"{address}/execution/health")


def seeded(environment: Mapping[str, str], _: float = 0, progress: str = "") -> None:
    """LocalStack runs and has made resources and functions, or has failed to.

    :param progress: what it does meanwhile, if that is known.
    """
    import json

    address = environment["AWS_ENDPOINT_URL"].removeprefix("http://")
    scripts = json.loads(_get(f"{address}/_localstack/init/ready"))
    if not scripts["completed"]:
        raise Unhealthy(f"{SEEDING}{progress}" if progress else "still seeding")
    failed = [script["name"] for script in scripts["scripts"] if script["state"] != "SUCCESSFUL"]
    if failed:
        raise Broken(f"seeding failed in {', '.join(failed)}: see this service's log")


def localstack(environment: Mapping[str, str], _: float) -> None:
    """LocalStack runs, its resources are there, and each function is Active and up to date."""
    from windtunnel.seeding import account

    seeded(environment, progress=account.progress(environment))
    if found := account.read(environment)["failures"]:
        raise Broken("; ".join(f"{name}: {reason}" for name, reason in found.items()))


def _query(environment: Mapping[str, str], statement: str, *parameters: object) -> list[tuple[object, ...]]:
    import psycopg2

    from windtunnel.services import secrets

    try:
        dsn = secrets.database_dsn(environment)
        with psycopg2.connect(dsn, connect_timeout=4) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())
    except (psycopg2.Error, OSError) as error:  # OSError: the password is not made yet
        raise Unhealthy(f"cannot ask the metadata database: {error}") from error


def _heartbeat(environment: Mapping[str, str], job_type: str, started: float) -> None:
    import socket

    # The row of a killed process's job stays. Only a job that has begun since this service's start counts.
    statement = (
        "SELECT extract(epoch FROM now() - max(latest_heartbeat)) FROM job"
        " WHERE job_type = %s AND state = 'running' AND hostname = %s AND start_date >= to_timestamp(%s)"
    )
    age = _query(environment, statement, job_type, socket.gethostname(), started)[0][0]
    if age is None:
        raise Unhealthy(f"its {job_type} has not started yet")
    if age > FRESH:  # type: ignore[operator]
        raise Unhealthy(f"the last heartbeat of the {job_type} is {age:.0f} s old: see this service's log")


def dag_processor(environment: Mapping[str, str], started: float) -> None:
    """The dag-processor's heartbeat is fresh, and no DAG file has an import error."""
    # The errors first: init has parsed all files, so these need not wait for the dag-processor.
    errors = _query(environment, "SELECT filename, stacktrace FROM import_error ORDER BY filename")
    if errors:
        named = "; ".join(f"{name}: {str(trace).strip().splitlines()[-1]}" for name, trace in errors)
        raise Broken(f"DAG files with import errors: {named}")
    _heartbeat(environment, "DagProcessorJob", started)


def postgres(environment: Mapping[str, str], _: float) -> None:
    """Postgres takes connections."""
    _query(environment, "SELECT 1")


def agent(environment: Mapping[str, str], started: float) -> None:
    """The agent has had an answer of LocalStack's lately."""
    from windtunnel.agent import heartbeat

    beat = heartbeat(environment)
    if not beat.exists() or (seen := beat.stat().st_mtime) < started:
        raise Unhealthy("it has not reached LocalStack yet")
    if (age := time.time() - seen) > FRESH:
        raise Unhealthy(f"LocalStack's last answer is {age:.0f} s old: see this service's log")


def celery_worker(environment: Mapping[str, str], _: float) -> None:
    """The worker has had an answer of SQS lately, or all its slots were taken."""
    # custom/executors/celery_transport.py touches it; entrypoint.sh removes that of an earlier worker.
    beat = os.path.join(environment.get("TMPDIR", "/tmp"), "celery-heartbeat")  # noqa: S108 - in its container
    try:
        age = time.time() - os.stat(beat).st_mtime
    except FileNotFoundError:
        raise Unhealthy("it has not reached SQS yet") from None
    if age > FRESH:
        raise Unhealthy(f"the last answer of SQS is {age:.0f} s old: see this service's log")


# A probe takes the service's environment and the start of its first process, in seconds since the epoch.
PROBES: dict[str, Callable[[Mapping[str, str], float], None]] = {
    "postgres": postgres,
    "webserver": webserver,
    "localstack": localstack,
    "scheduler": lambda environment, started: _heartbeat(environment, "SchedulerJob", started),
    "triggerer": lambda environment, started: _heartbeat(environment, "TriggererJob", started),
    "dag-processor": dag_processor,
    "ecs-agent": agent,
    "docker-agent": agent,
    "celery-worker": celery_worker,
}


def main() -> None:
    """Probe the service of this container; exit 1 if waiting may help, ``DEFINITE`` if it will not.

    With ``--wait`` it is probed again, for as long as waiting may help and ``PATIENCE`` lasts.
    """
    name, *options = sys.argv[1:]
    deadline = time.monotonic() + (PATIENCE if options == ["--wait"] else 0)
    while True:
        try:
            return {**PROBES, "seeded": seeded}[name](os.environ, os.stat("/proc/1").st_ctime)
        except Unhealthy as unhealthy:
            broken = isinstance(unhealthy, Broken)
            if broken or time.monotonic() >= deadline:
                print(unhealthy, file=sys.stderr)  # noqa: T201
                sys.exit(DEFINITE if broken else 1)
        time.sleep(0.2)


if __name__ == "__main__":
    main()
