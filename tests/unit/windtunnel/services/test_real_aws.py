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
