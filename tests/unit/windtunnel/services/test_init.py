import json
from pathlib import Path

import pytest

from windtunnel.services import init


def test_the_seed_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "pools.json").write_text("{}")
    (tmp_path / "connections.json").write_text(json.dumps({"a": {"conn_type": "aws"}}))
    (tmp_path / "other.json").write_text("no JSON")

    assert init.seed_files(tmp_path) == {
        "connections": tmp_path / "connections.json",
        "pools": tmp_path / "pools.json",
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "variables.json in the config folder is not JSON"), ("[]", "must be a JSON object")],
)
def test_a_seed_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "variables.json").write_text(text)

    with pytest.raises(init.InitError, match=problem):
        init.seed_files(tmp_path)
