from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from windtunnel.cli import output
from windtunnel.stack.base import Say


def test_a_build_shows_each_step_and_says_the_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    shown: list[str] = []

    @contextmanager
    def working(text: str) -> Iterator[Say]:
        yield shown.append

    monkeypatch.setattr(output, "working", working)
    monkeypatch.setattr(output, "say", said.append)

    with output.building("getting images") as on_line:
        for line in (
            "#1 [internal] load build definition from Dockerfile",
            "#1 DONE 0.0s",
            "#7 [airflow-builder 2/3] RUN uv pip sync",
            "#7 0.512 some output DONE 9s",
            "#7 DONE 12.3s",
            "#8 [airflow 1/2] RUN useradd",
            "#8 CACHED",
        ):
            on_line(line)

    assert shown[-1] == "[airflow 1/2] RUN useradd"
    assert said == ["[airflow-builder 2/3] RUN uv pip sync 12.3 s"]
