import pytest

from tests.real_aws import DANGERS, EXAMPLE_KEY
from windtunnel.services import real_aws


@pytest.mark.bad_input(68)
@pytest.mark.parametrize("danger", DANGERS)
def test_each_danger_is_named(danger: str) -> None:
    variables, named = DANGERS[danger]

    ((problem, remedy),) = real_aws.dangers(variables)

    assert named in problem
    assert remedy


def test_a_key_is_not_repeated() -> None:
    ((problem, remedy),) = real_aws.dangers({"AWS_ACCESS_KEY_ID": EXAMPLE_KEY})

    assert EXAMPLE_KEY[4:] not in problem + remedy


@pytest.mark.parametrize(
    "address", ["http://localstack:4566", "http://localhost:4566", "http://127.0.0.1:4566/", "http://a_b-1"]
)
def test_dummy_keys_and_the_emulator_are_no_danger(address: str) -> None:
    assert list(real_aws.dangers({"AWS_ACCESS_KEY_ID": "test", "AWS_ENDPOINT_URL": address})) == []


@pytest.mark.bad_input(79)
@pytest.mark.parametrize(
    ("address", "is_local"),
    [
        ("sqs://localstack:4566", True),
        ("sqs://test:test@127.0.0.1:4566", True),
        # To the endpoint, which is local.
        ("sqs://", True),
        ("sqs://localstack:4566;sqs://", True),
        ("amqps://user:secret@b-1.mq.eu-west-1.amazonaws.com:5671", False),
        ("sqs://;redis://10.1.2.3", False),
    ],
)
def test_a_broker_of_celery_is_local(address: str, is_local: bool) -> None:
    found = list(real_aws.dangers({"AIRFLOW__CELERY__BROKER_URL": address}))

    assert len(found) == (0 if is_local else 1)
    assert "secret" not in str(found)
