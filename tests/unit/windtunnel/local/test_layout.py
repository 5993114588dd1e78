from pathlib import Path

import pytest

from windtunnel.stack.errors import StackError

from .conftest import made


def test_a_volume_in_the_short_form_is_refused(root: Path) -> None:
    overlay = root / "overlay.yml"
    overlay.write_text("services: {scheduler: {volumes: ['./a:/b']}}")

    with pytest.raises(StackError, match=r"volume '\./a:/b': the local engine reads the long form"):
        made(root, overlay).up()
