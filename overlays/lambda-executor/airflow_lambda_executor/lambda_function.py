"""Runs a task of Airflow: the function of the overlay ``lambda-executor``; ``docs/lambda-executor.md``.

On AWS such a function is an image that has Airflow. Here it hands the command to ECS, whose agent has this
stack's Airflow, waits for its end, and sends the result to the queue that the executor reads.
"""

import json
import logging
import math
import os
import time
from collections.abc import Mapping
from typing import Any

import boto3

LOG = logging.getLogger()
LOG.setLevel(logging.INFO)

# Before Lambda's limit, in seconds: the time for stopping the task and for saying so. Lambda ends a function
# without notice, and the task would go on.
MARGIN = 10.0

# Between two looks at the task, in seconds: short at first, since many tasks are short.
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 0.1, 1.0, 1.3

# What an executor_config may change, as RunTask's overrides have it.
OF_TASK = ("cpu", "memory", "ephemeralStorage")
OF_CONTAINER = (
    "environment",
    "environmentFiles",
    "cpu",
    "memory",
    "memoryReservation",
    "resourceRequirements",
)


def lambda_handler(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Run the command of an event of the executor, and return what was sent to its queue.

    :param event: ``task_key``, ``command`` and ``executor_config``.
    :raises RuntimeError: if ECS does not place the task. Then the event becomes a dead letter.
    """
    ecs = boto3.client("ecs")
    answer = ecs.run_task(
        cluster=os.environ["CLUSTER"],
        taskDefinition=os.environ["TASK_DEFINITION"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-windtunnel"]}},
        overrides=overrides(event),
        startedBy=context.aws_request_id,
    )
    if not answer["tasks"]:
        raise RuntimeError(f"ECS does not place the task: {answer['failures']}")
    arn = answer["tasks"][0]["taskArn"]
    LOG.info("%s is %s", event["task_key"], arn)
    result = {"task_key": event["task_key"], **_result(ecs, arn, context)}
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE_URL"], MessageBody=json.dumps(result))
    LOG.info("sent %s", result)
    return result


def overrides(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return what RunTask changes in the definition: the command, and what ``executor_config`` asks for."""
    given = event.get("executor_config") or {}
    asked = given.get("overrides") or {}
    own: Mapping[str, Any] = next(iter(asked.get("containerOverrides") or []), {})
    ignored = [*(given.keys() - {"overrides"}), *(asked.keys() - {*OF_TASK, "containerOverrides"})]
    ignored += own.keys() - {*OF_CONTAINER, "name"}
    if ignored:
        LOG.warning("of executor_config this is not applied: %s", ", ".join(sorted(ignored)))
    container = {
        **{name: own[name] for name in OF_CONTAINER if name in own},
        "name": os.environ["CONTAINER"],
        "command": event["command"],
    }
    return {**{name: asked[name] for name in OF_TASK if name in asked}, "containerOverrides": [container]}


def _result(ecs: Any, arn: str, context: Any) -> dict[str, Any]:
    """Wait for the end of a task, which is stopped shortly before Lambda's limit."""
    limit = math.ceil(_left(context))
    too_long = (
        f"The task was stopped, because Lambda's limit was near: the function {context.function_name} may "
        f"take {limit} s. Give it a longer Timeout, 900 s at most, or give the task another executor."
    )
    is_stopped = False
    pause = FIRST_PAUSE
    while (task := _described(ecs, arn))["lastStatus"] != "STOPPED":
        left = _left(context) - MARGIN
        if left <= 0 and not is_stopped:
            LOG.error("%s", too_long)
            ecs.stop_task(cluster=os.environ["CLUSTER"], task=arn, reason=too_long)
            is_stopped = True
        time.sleep(min(pause, left) if left > 0 else FIRST_PAUSE)
        pause = min(pause * GROWTH, LONGEST_PAUSE)
    # A task that is told to end may do so with 0.
    return {"return_code": 1, "reason": too_long} if is_stopped else _end(task)


def _left(context: Any) -> float:
    return float(context.get_remaining_time_in_millis()) / 1000


def _described(ecs: Any, arn: str) -> Any:
    answer = ecs.describe_tasks(cluster=os.environ["CLUSTER"], tasks=[arn])
    if not answer["tasks"]:
        raise RuntimeError(f"ECS does not know the task {arn} any more: {answer['failures']}")
    return answer["tasks"][0]


def _end(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a task has ended, with the reason if it was not the command itself that ended it."""
    container = task["containers"][0]
    code = container.get("exitCode")
    if code is None:
        return {"return_code": 1, "reason": task.get("stoppedReason", "The task did not start.")}
    if reason := container.get("reason"):
        return {"return_code": code, "reason": reason}
    if code > 128:
        return {"return_code": code, "reason": f"The signal {code - 128} has ended the task."}
    return {"return_code": code}
