from pathlib import Path

from windtunnel.compose.stack import ComposeStack
from windtunnel.dev import browser

from ..stand_ins.docker import Docker


def test_a_browser_that_is_there_is_taken(compose: ComposeStack, docker: Docker) -> None:
    said: list[str] = []
    (Path(docker.path) / "chromium").touch(mode=0o755)

    browser.get(compose, said.append)

    assert said == []
