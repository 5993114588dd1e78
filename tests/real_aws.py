"""What could reach real AWS: the preflight and ``entrypoint.sh`` refuse the same."""

# AWS's own example of an access key, in two parts, so that no scanner reports it.
EXAMPLE_KEY = "AKIA" + "IOSFODNN7EXAMPLE"

# Variables, and the name of the one that the refusal must give.
DANGERS: dict[str, tuple[dict[str, str], str]] = {
    "long-term key": ({"AWS_ACCESS_KEY_ID": EXAMPLE_KEY}, "AWS_ACCESS_KEY_ID"),
    "temporary key": ({"AWS_ACCESS_KEY_ID": "ASIA" + EXAMPLE_KEY[4:]}, "AWS_ACCESS_KEY_ID"),
    "profile": ({"AWS_PROFILE": "production"}, "AWS_PROFILE"),
    "real endpoint": ({"AWS_ENDPOINT_URL": "https://s3.ap-southeast-2.amazonaws.com"}, "AWS_ENDPOINT_URL"),
    "real endpoint, port": (
        {"AWS_ENDPOINT_URL": "https://lambda.ap-southeast-2.amazonaws.com:443/"},
        "AWS_ENDPOINT_URL",
    ),
    "endpoint of a service": ({"AWS_ENDPOINT_URL_S3": "https://s3.amazonaws.com"}, "AWS_ENDPOINT_URL_S3"),
    "address of another machine": ({"AWS_ENDPOINT_URL": "http://10.1.2.3:4566"}, "AWS_ENDPOINT_URL"),
    "default profile": ({"AWS_DEFAULT_PROFILE": "prod"}, "AWS_DEFAULT_PROFILE"),
    "loopback's look-alike": ({"AWS_ENDPOINT_URL": "http://127.evil.com"}, "AWS_ENDPOINT_URL"),
    "an address of IPv6": ({"AWS_ENDPOINT_URL": "http://[2600::1]:4566"}, "AWS_ENDPOINT_URL"),
    "user part": ({"AWS_ENDPOINT_URL": "http://localhost@s3.amazonaws.com"}, "AWS_ENDPOINT_URL"),
    "user and password part": (
        {"AWS_ENDPOINT_URL": "http://localhost:1@s3.amazonaws.com"},
        "AWS_ENDPOINT_URL",
    ),
    "an Airflow connection": (
        {"AIRFLOW_CONN_AWS_DEFAULT": "aws://@/?endpoint_url=https%3A%2F%2Fs3.amazonaws.com"},
        "AIRFLOW_CONN_AWS_DEFAULT",
    ),
    "a broker of Celery": ({"AIRFLOW__CELERY__BROKER_URL": "redis://:pw@10.1.2.3/0"}, "CELERY__BROKER_URL"),
    "one of two brokers": (
        {"AIRFLOW__CELERY__BROKER_URL": "sqs://localstack:4566;sqs://sqs.eu-west-1.amazonaws.com"},
        "CELERY__BROKER_URL",
    ),
    "endpoints ignored": (
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    ),
    "endpoints ignored, capitals": (
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"},
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    ),
}
