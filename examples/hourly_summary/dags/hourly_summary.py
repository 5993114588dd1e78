"""Every hour: count the words of all texts in a bucket, a Lambda call for each, and write the sum.

Where a text cannot be counted, no summary is written but an alert.
"""

import json
from typing import Any

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk import DAG, task

from custom.operators.lambda_function import LambdaOperator

BUCKET = "texts"

with DAG(dag_id="hourly-summary", schedule="@hourly", catchup=False, doc_md=__doc__):

    @task
    def list_texts() -> list[dict[str, Any]]:
        """Return a payload for each text."""
        keys = S3Hook().list_keys(BUCKET, prefix="in/") or []
        return [{"bucket": BUCKET, "key": key} for key in keys]

    @task
    def write_summary(counts: Any) -> int:
        """Write how many words all texts have, and return that."""
        total = sum(counts)
        S3Hook().load_string(json.dumps({"words": total}), "summary.json", BUCKET, replace=True)
        return total

    @task(trigger_rule="one_failed")
    def alert() -> None:
        """Say that somebody has to look."""
        S3Hook().load_string("a text could not be counted", "alert.txt", BUCKET, replace=True)

    count = LambdaOperator.partial(
        task_id="count", function_name="count-words", awslogs_group="/airflow/lambda/count-words"
    ).expand(payload=list_texts())
    write_summary(count.output)
    count >> alert()
