"""The output of a container arrives in CloudWatch: each line, in order, once."""

import json
from pathlib import Path
from typing import Any

import pytest

from windtunnel.agent import output as output_module
from windtunnel.agent.output import LONGEST_EVENT, Output
from windtunnel.agent.runtime import CannotStart

from .cloudwatch import CloudWatch
from .containers import container


def make(folder: Path, cloudwatch: CloudWatch, **logs: Any) -> Output:
    return Output(folder, {**container()["logs"], **logs}, lambda _: cloudwatch)


def written(folder: Path, cloudwatch: CloudWatch, content: bytes, **logs: Any) -> Output:
    output = make(folder, cloudwatch, **logs)
    output.open()
    (folder / "output").write_bytes(content)
    return output


def test_ten_thousand_lines_come_in_order_and_once(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    lines = [f"{number} {'x' * 200}" for number in range(10_000)]
    output = written(tmp_path, cloudwatch, "\n".join(lines).encode() + b"\n")

    assert output.ship()
    assert output.backlog == 0
    assert cloudwatch.lines() == lines
    assert len(cloudwatch.calls) > 1
    times = [call[0]["timestamp"] for call in cloudwatch.calls]
    assert times == sorted(set(times))


def test_a_line_is_shipped_when_it_is_whole(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"one\ntw")
    output.ship()
    assert cloudwatch.lines() == ["one"]
    with (tmp_path / "output").open("ab") as file:
        file.write(b"o\r\n\nlast")
    output.ship()
    assert cloudwatch.lines() == ["one", "two"]

    output.ship(to_the_end=True)
    assert cloudwatch.lines() == ["one", "two", "last"]


@pytest.mark.parametrize("character", ["x", "é", "語"])
def test_a_long_line_is_cut_between_characters(
    tmp_path: Path, cloudwatch: CloudWatch, character: str
) -> None:
    line = "." + character * 900_000
    output = written(tmp_path, cloudwatch, f"{line}\nnext\n".encode())

    assert output.ship()
    *pieces, last = cloudwatch.lines()
    assert "".join(pieces) == line
    assert last == "next"
    assert max(len(piece.encode()) for piece in pieces) <= LONGEST_EVENT


def test_bytes_that_are_no_text_arrive_as_what_replaces_them(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"\xff" * 600_000 + b"\nnext\n")

    assert output.ship()
    assert set("".join(cloudwatch.lines()[:-1])) == {"\ufffd"}
    assert sum(map(len, cloudwatch.lines()[:-1])) == 600_000
    assert cloudwatch.lines()[-1] == "next"


def test_another_agent_goes_on_where_the_last_one_was(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    written(tmp_path, cloudwatch, b"one\n").ship()
    with (tmp_path / "output").open("ab") as file:
        file.write(b"two\n")
    make(tmp_path, cloudwatch).ship()

    assert cloudwatch.lines() == ["one", "two"]


@pytest.mark.parametrize("arrived", [True, False])
def test_an_agent_that_was_killed_in_a_call_doubles_and_loses_nothing(
    tmp_path: Path, cloudwatch: CloudWatch, arrived: bool
) -> None:
    output = written(tmp_path, cloudwatch, b"one\n")
    output.ship()
    note = {"offset": 0, "unsure": {"end": 4, "timestamp": cloudwatch.calls[0][0]["timestamp"]}}
    if not arrived:
        cloudwatch.streams["it", "main"].clear()
    (tmp_path / "shipped").write_text(json.dumps(note))
    make(tmp_path, cloudwatch).ship()

    assert cloudwatch.lines() == ["one"]


def test_an_answer_that_is_lost_doubles_nothing(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    cloudwatch.loses_answers = 1
    output = written(tmp_path, cloudwatch, b"one\ntwo\n")

    assert output.ship()
    assert cloudwatch.lines() == ["one", "two"]


def test_lines_wait_while_cloudwatch_is_away(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"one\n")
    cloudwatch.is_away = True
    assert not output.ship()
    assert output.backlog == 4
    cloudwatch.is_away = False

    assert output.ship()
    assert cloudwatch.lines() == ["one"]


def test_a_cloudwatch_that_has_forgotten_all_gets_the_rest(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"one\n")
    output.ship()
    cloudwatch.groups.clear()
    cloudwatch.streams.clear()
    with (tmp_path / "output").open("ab") as file:
        file.write(b"two\n")

    assert output.ship()
    assert cloudwatch.lines() == ["two"]


def test_a_group_that_is_missing_fails_the_start(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    with pytest.raises(
        CannotStart, match=r"failed to create Cloudwatch log stream: .*ResourceNotFoundException"
    ):
        make(tmp_path, cloudwatch, group="other").open()

    make(tmp_path, cloudwatch, group="other", create_group=True).open()
    assert cloudwatch.groups == {"it", "other"}


def test_a_stream_may_be_there_already(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    for _ in range(2):
        make(tmp_path, cloudwatch, create_group=True).open()

    assert list(cloudwatch.streams) == [("it", "main")]


def test_lines_of_one_event_stay_together(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"[1] a\n  b\n[2] c\n", multiline_pattern=r"^\[")
    output.ship()
    # More lines of the last event may come.
    assert cloudwatch.lines() == ["[1] a\n  b"]
    with (tmp_path / "output").open("ab") as file:
        file.write(b"  d\n")
    output.ship(to_the_end=True)

    assert cloudwatch.lines() == ["[1] a\n  b", "[2] c\n  d"]


def test_what_was_shipped_does_not_stay_on_the_disk(
    tmp_path: Path, cloudwatch: CloudWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_module, "LEFT_ON_DISK", 1 << 18)
    output = written(tmp_path, cloudwatch, (b"x" * 1023 + b"\n") * 1024)
    before = (tmp_path / "output").stat().st_blocks
    output.ship()
    with (tmp_path / "output").open("ab") as file:
        file.write(b"last\n")
    output.ship()

    assert (tmp_path / "output").stat().st_blocks < before / 2
    assert cloudwatch.lines()[-1] == "last"
    assert len(cloudwatch.lines()) == 1025


def test_a_thread_ships_until_the_end(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"one\nlast")
    output.begin()

    assert output.finish(timeout=10)
    assert cloudwatch.lines() == ["one", "last"]


def test_an_end_without_cloudwatch_is_said(tmp_path: Path, cloudwatch: CloudWatch) -> None:
    output = written(tmp_path, cloudwatch, b"one\n")
    cloudwatch.is_away = True
    output.begin()

    assert not output.finish(timeout=0.1)
    cloudwatch.is_away = False
    assert output.finish(timeout=10)
