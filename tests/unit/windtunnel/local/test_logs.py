import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest

from windtunnel.local import logs as local_logs
from windtunnel.local.stack import ProcessStack


@pytest.fixture
def logs(written: ProcessStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The logs of a stack that ends soon, so that no one follows them forever."""
    monkeypatch.setattr(local_logs, "FOLLOW", 0.01)
    folder = written.layout.run / "logs"
    folder.mkdir()
    (folder / "init.log").write_text("begins\nends\n")
    (folder / "scheduler.log").write_text("three\nfour\n")
    (folder / "scheduler.log.1").write_text("one\ntwo\n")
    end = Timer(5, shutil.rmtree, [written.layout.run])
    end.start()
    yield folder
    end.cancel()


@pytest.mark.usefixtures("logs")
def test_logs_of_one_service_and_of_all(stack: ProcessStack) -> None:
    assert stack.logs("scheduler") == "one\ntwo\nthree\nfour\n"
    assert stack.logs("scheduler", tail=3) == "two\nthree\nfour\n"
    assert stack.logs("scheduler", tail=0) == ""
    assert stack.logs("postgres") == ""
    assert [line.split() for line in stack.logs(tail=1).splitlines()] == [
        ["init", "|", "ends"],
        ["scheduler", "|", "four"],
    ]


def test_bytes_that_are_no_text_do_not_hide_a_log(stack: ProcessStack, logs: Path) -> None:
    (logs / "postgres.log").write_bytes(b"\xff bad\n")

    assert stack.logs("postgres").endswith(" bad\n")


def test_a_followed_log_goes_on_also_when_it_is_moved_aside(stack: ProcessStack, logs: Path) -> None:
    log = logs / "scheduler.log"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        with log.open("a") as file:
            if line == "four":
                file.write("five\nhalf a ")
            if line == "five":
                file.write("line\n")
        if line == "half a line":
            log.rename(logs / "scheduler.log.1")
            log.write_text("six\n")
        if line == "six":
            shutil.rmtree(stack.layout.run)

    stack.show_logs("scheduler", follow=True, tail=1, on_line=on_line)

    assert lines == ["four", "five", "half a line", "six"]


def test_of_several_followed_logs_each_line_names_its_service(stack: ProcessStack, logs: Path) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line.endswith("four"):
            # Not there at first.
            (logs / "postgres.log").write_text("ready\n")
        if line.endswith("ready"):
            shutil.rmtree(stack.layout.run)

    stack.show_logs(None, follow=True, tail=1, on_line=on_line)

    assert [line.split() for line in lines] == [
        ["init", "|", "ends"],
        ["scheduler", "|", "four"],
        ["postgres", "|", "ready"],
    ]
