"""What ``./windtunnel doctor`` asks inside a container; each answer is JSON on standard output.

Run there as ``python -m windtunnel.inside settings`` or ``python -m windtunnel.inside aws FUNCTION...``.
"""

import json
import sys


def settings() -> dict[str, list[str]]:
    """The options of each section that this Airflow and its providers know, deprecated names included."""
    from airflow.configuration import conf

    known = {
        section: set(description["options"])
        for section, description in conf.configuration_description.items()
    }
    for section, option, _ in conf.deprecated_options.values():
        known.setdefault(section, set()).add(option)
    # Where secrets are read from: a command or a secrets backend in place of the value.
    for section, option in conf.sensitive_config_values:
        known.setdefault(section, set()).update({f"{option}_cmd", f"{option}_secret"})
    return {section: sorted(options) for section, options in sorted(known.items())}


def aws(functions: list[str]) -> dict[str, str]:
    """What of the emulated AWS a task cannot reach, and why: S3, and each of the functions."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})
    unreachable = {}
    try:
        boto3.client("s3", config=config).list_buckets()
    except (BotoCoreError, ClientError) as error:
        return {"LocalStack": str(error)}
    for name in functions:
        try:
            boto3.client("lambda", config=config).invoke(FunctionName=name, InvocationType="DryRun")
        except (BotoCoreError, ClientError) as error:
            unreachable[f"the function {name}"] = str(error)
    return unreachable


if __name__ == "__main__":
    answer = settings() if sys.argv[1] == "settings" else aws(sys.argv[2:])
    print(json.dumps(answer))  # noqa: T201
