"""Airflow's own backend for XComs in object storage, set in the stack's .env (tests/support.py)."""

import json
from typing import Any

from tests.support import BUCKET, XCOM_THRESHOLD
from windtunnel import RunningStack


def test_a_large_result_is_in_s3_and_the_next_task_has_it_whole(
    windtunnel: RunningStack, s3_client: Any, metadata_db: Any
) -> None:
    run = windtunnel.run_dag("test-xcom-in-s3")

    assert run.state == "success", run
    assert run.task("measure_small").xcom() == [10, ""]
    assert run.task("measure_large").xcom() == [2_000_000, ""]
    listed = s3_client.list_objects_v2(Bucket=BUCKET, Prefix="xcom/test-xcom-in-s3/").get("Contents", [])
    assert [entry["Size"] > XCOM_THRESHOLD for entry in listed] == [True]
    body = s3_client.get_object(Bucket=BUCKET, Key=listed[0]["Key"])["Body"].read()
    assert json.loads(body) == "x" * 2_000_000
    with metadata_db.cursor() as cursor:
        cursor.execute(
            "SELECT task_id, value FROM xcom WHERE run_id = %s AND task_id LIKE 'make_%%'", (run.run_id,)
        )
        kept = dict(cursor.fetchall())
    assert kept["make_small"] == "x" * 10
    # What Airflow's API, and so its page, shows of such a result, too.
    assert (
        kept["make_large"] == run.task("make_large").xcom() == f"s3://aws_default@{BUCKET}/{listed[0]['Key']}"
    )
