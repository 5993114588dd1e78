import base64
import json
from typing import Any

import pytest

from windtunnel.diagnosis.redaction import redacted, without_tokens

# Of the form of a token: three parts in base64.
PARTS = (b'{"alg": "HS512"}', b'{"sub": "019abc"}', b"a signature \xff\xfe\xfb")
TOKEN = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in PARTS)


@pytest.mark.parametrize(
    ("described", "is_now"),
    [
        (
            {"environment": [{"name": "PASSWORD", "value": "hunter2"}, {"name": "EMPTY"}]},
            {"environment": [{"name": "PASSWORD", "value": "***"}, {"name": "EMPTY", "value": "***"}]},
        ),
        ({"Environment": {"Variables": {"KEY": "hunter2"}}}, {"Environment": {"Variables": {"KEY": "***"}}}),
        ({"Environment": {"Error": {}}}, {"Environment": {"Error": {}, "Variables": {}}}),
        ({"secrets": [{"name": "A", "valueFrom": "/a"}]}, {"secrets": [{"name": "A", "valueFrom": "/a"}]}),
    ],
)
def test_of_an_environment_the_names_stay(described: Any, is_now: Any) -> None:
    assert redacted({"tasks": [{"overrides": described}]}) == {"tasks": [{"overrides": is_now}]}


def test_a_token_in_a_command_is_hidden_and_the_rest_stays() -> None:
    command = ["--json-string", json.dumps({"token": TOKEN, "ti": {"task_id": "count"}})]

    found = redacted({"command": command, "cpu": 1})

    assert found["cpu"] == 1
    assert json.loads(found["command"][1]) == {"token": "***", "ti": {"task_id": "count"}}


def test_what_is_no_token_stays() -> None:
    text = "eyJ is how JSON begins in base64; see docs.python.org"

    assert without_tokens(text) == text
