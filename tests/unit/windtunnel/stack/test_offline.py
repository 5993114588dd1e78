from pathlib import Path

import pytest

from windtunnel.compose.stack import ComposeStack
from windtunnel.stack import offline
from windtunnel.stack.errors import Unmet

from ..conftest import offline_script


def test_a_failing_script_ends_with_its_last_words(compose: ComposeStack, checkout: Path) -> None:
    said: list[str] = []
    offline_script(checkout, "browser.sh", "echo 'offline: no mirror' >&2; exit 2")

    with pytest.raises(Unmet, match="offline: no mirror") as caught:
        offline.run(compose, "browser.sh", say=said.append)

    assert caught.value.findings[0].remedy == "By hand: offline/browser.sh"
