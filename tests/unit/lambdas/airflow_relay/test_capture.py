"""Catching what is logged and printed, without changing what the function's own log gets."""

# ruff: noqa: T201 - what is printed is what these tests are about

import contextlib
import io
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

from airflow_relay.capture import captured

Caught = list[tuple[int, str]]


class Sink:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.caught: Caught = []
        self.times: list[float] = []
        self.silent_thread: int | None = None

    def __call__(self, level: int, text: str, created: float, logger: str) -> None:
        self.caught.append((level, text))
        self.times.append(created)


@pytest.fixture
def sink() -> Sink:
    return Sink()


@contextlib.contextmanager
def surroundings() -> Iterator[io.StringIO]:
    """What a function finds: standard output, and Lambda's handler that prints records to it.

    Set up inside of each test: pytest puts its own in place when the test begins.
    """
    output = io.StringIO()

    class LambdaHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            try:
                sys.stdout.write(f"[{record.levelname}] {self.format(record)}\n")
            except TypeError:
                self.handleError(record)

    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers[:] = [LambdaHandler()]
    root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            yield output
    finally:
        root.handlers[:] = before
        root.setLevel(level)


def test_records_are_caught_once_and_still_logged(sink: Sink) -> None:
    with surroundings() as own_log, captured(sink, sink.silent_thread):
        logging.getLogger("some.library").warning("%d of %d", 1, 2)

    assert sink.caught == [(logging.WARNING, "1 of 2")]
    assert own_log.getvalue() == "[WARNING] 1 of 2\n"


@pytest.fixture(params=["UTC0", "AEST-10AEDT,M10.1.0,M4.1.0/3"])
def _time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.bad_input(42, 43)
@pytest.mark.usefixtures("_time_zone")
def test_time_is_the_records_own_whatever_its_text_and_the_zone_say(sink: Sink) -> None:
    with surroundings(), captured(sink, sink.silent_thread):
        before = time.time()
        logging.getLogger().info("2001-01-01 00:00:00,000 long ago")
        print("2001-01-01 00:00:00,000 long ago")

    assert sink.times == sorted(sink.times)
    assert before <= sink.times[0] <= sink.times[1] <= time.time()


@pytest.mark.bad_input(41)
def test_a_record_with_traceback_is_one_text(sink: Sink) -> None:
    with surroundings(), captured(sink, sink.silent_thread):
        try:
            raise KeyError("gone")
        except KeyError:
            logging.getLogger().exception("failed")

    ((level, text),) = sink.caught
    assert level == logging.ERROR
    assert text.startswith("failed\nTraceback (most recent call last):\n")
    assert text.endswith("KeyError: 'gone'")


def test_levels_are_the_functions_own(sink: Sink) -> None:
    with surroundings(), captured(sink, sink.silent_thread):
        logging.getLogger().debug("dropped")

    assert sink.caught == []


def test_a_record_that_cannot_be_formatted_harms_nobody(sink: Sink) -> None:
    with surroundings(), captured(sink, sink.silent_thread):
        logging.getLogger().info("%d", "not a number")
        logging.getLogger().info("next")

    assert sink.caught == [(logging.INFO, "next")]


def test_loggers_that_do_not_propagate_are_caught_once(sink: Sink) -> None:
    logger = logging.getLogger("private.child")
    logging.getLogger("private").propagate = False

    with surroundings(), captured(sink, sink.silent_thread):
        logger.error("kept apart")

    assert sink.caught == [(logging.ERROR, "kept apart")]
    assert logging.getLogger("private").handlers == []


@pytest.mark.bad_input(40)
def test_prints_are_caught_line_by_line_and_still_printed(sink: Sink) -> None:
    with surroundings() as own_log, captured(sink, sink.silent_thread):
        print("one", "two")
        print("three", end="")
        print("…four")
        print("a\nb")
        print()
        print("unfinished", end="")

    texts = ["one two", "three…four", "a\nb", "", "unfinished"]
    assert sink.caught == [(logging.INFO, text) for text in texts]
    assert own_log.getvalue() == "one two\nthree…four\na\nb\n\nunfinished"


def test_standard_error_counts_as_a_warning(sink: Sink) -> None:
    with surroundings(), captured(sink, sink.silent_thread):
        print("careful", file=sys.stderr)

    assert sink.caught == [(logging.WARNING, "careful")]


def test_warnings_are_caught_whole(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    with surroundings(), captured(sink, sink.silent_thread), warnings.catch_warnings():
        warnings.simplefilter("always")
        # pytest collects warnings; a function has Python's own way of showing them.
        monkeypatch.setattr(
            warnings, "showwarning", lambda *said, **_: sys.stderr.write(warnings.formatwarning(*said[:4]))
        )
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    ((level, text),) = sink.caught
    assert level == logging.WARNING
    assert "DeprecationWarning: old ways\n" in text


def test_lines_are_caught_where_they_are_printed_once_the_handler_was_thrown_out(sink: Sink) -> None:
    with surroundings(), captured(sink, sink.silent_thread):
        logging.basicConfig(force=True, format="%(message)s")
        logging.getLogger().warning("new order")

    assert sink.caught == [(logging.WARNING, "new order")]


def test_the_sending_threads_records_are_left_out(sink: Sink) -> None:
    sink.silent_thread = threading.get_ident()

    with surroundings(), captured(sink, sink.silent_thread):
        logging.getLogger("urllib3").warning("retrying")

    assert sink.caught == []


def test_threads_that_print_at_once_do_not_mix_lines(sink: Sink) -> None:
    def print_many(name: str) -> None:
        for _ in range(200):
            print(name, name)

    with surroundings(), captured(sink, sink.silent_thread):
        threads = [threading.Thread(target=print_many, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(text for _, text in sink.caught) == ["a a"] * 200 + ["b b"] * 200


@pytest.mark.bad_input(45, 48)
def test_nothing_is_left_behind(sink: Sink) -> None:
    with surroundings() as own_log:
        before = logging.root.handlers[:], sys.stdout, sys.stderr
        with captured(sink, sink.silent_thread):
            kept = logging.StreamHandler(sys.stdout)
            logging.root.addHandler(kept)
        logging.root.info("after the call")
        print("also after")
        logging.root.removeHandler(kept)

        assert (logging.root.handlers, sys.stdout, sys.stderr) == before
    assert sink.caught == []
    assert own_log.getvalue() == "[INFO] after the call\nafter the call\nalso after\n"


@pytest.mark.bad_input(45)
def test_nothing_is_left_behind_by_a_handler_that_raises(sink: Sink) -> None:
    with surroundings():
        before = logging.root.handlers[:], sys.stdout
        with contextlib.suppress(SystemExit), captured(sink, sink.silent_thread):
            print("going", end="")
            sys.exit(3)

        assert (logging.root.handlers, sys.stdout) == before
    assert sink.caught == [(logging.INFO, "going")]


def test_the_stream_keeps_its_other_sides(sink: Sink) -> None:
    with surroundings() as own_log, captured(sink, sink.silent_thread):
        sys.stdout.writelines(["one\n", "two\n"])
        sys.stdout.flush()
        assert sys.stdout.encoding == own_log.encoding

    assert [text for _, text in sink.caught] == ["one", "two"]


def test_a_logger_that_is_cut_off_from_the_root_during_the_call_is_caught_where_it_prints() -> None:
    """As a library does that sets up its logging when it is first used."""
    sink = Sink()
    with surroundings(), captured(sink, sink.silent_thread):
        apart = logging.getLogger("cut.off")
        apart.propagate = False
        handler = logging.StreamHandler(sys.stdout)
        apart.addHandler(handler)
        apart.error("apart")
        logging.getLogger("function").warning("beside")

    apart.removeHandler(handler)
    apart.propagate = True
    assert [text for _, text in sink.caught] == ["apart", "beside"]
