"""Docker's wordings that ``windtunnel.compose`` reads."""

import subprocess


def test_a_container_that_is_gone_is_no_such_object() -> None:
    answer = subprocess.run(
        ["docker", "inspect", "windtunnel-no-such"], capture_output=True, text=True, check=False
    )

    assert "No such object" in answer.stderr
