"""The smallest DAG that there can be: the scheduler alone ends its runs."""

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG("bench-empty", schedule=None):
    EmptyOperator(task_id="nothing")
