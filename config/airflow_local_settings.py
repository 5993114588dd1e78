"""Imported by every Airflow process as it starts (Airflow's own hook for local settings).

The scheduler forks its LocalExecutor's workers, and each worker forks a process for each task. What the
scheduler has imported by then is there in all of them; what it has not, each task imports again: 0.4 s.
"""

import importlib
import logging
import sys

# What every task of this stack needs: task runner, parser, S3 log upload, the provider's hooks for Lambda.
# Not `custom` itself, so that the next task sees an edit there.
PRELOADED = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.dagbag",
    "airflow.providers.amazon.aws.hooks.lambda_function",
    "airflow.providers.amazon.aws.hooks.logs",
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.amazon.aws.log.s3_task_handler",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)

# It says where it found credentials and addresses, five lines in each task's log.
logging.getLogger("botocore").setLevel(logging.WARNING)

# There is no log server to ask (docs/decisions/0008): a running task's log is read from the shared volume.
logging.getLogger("airflow.utils.log.file_task_handler").addFilter(
    lambda record: record.msg != "Could not read served logs"
)

if sys.argv[1:2] == ["scheduler"]:
    for name in PRELOADED:
        importlib.import_module(name)
