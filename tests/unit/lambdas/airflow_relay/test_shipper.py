"""Sending events: valid batches, and what happens when CloudWatch does not play along."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_relay import contract, shipper
from airflow_relay.shipper import LogEvent, Shipper, event_bytes, rejected_count, valid_batches
from tests.decoded import decode_lines

GROUP, STREAM = "/airflow/lambda/f", "stream"
DESTINATION = contract.Destination(GROUP, STREAM)


class AwsError(Exception):
    """Looks like botocore's ClientError, which the library must not import to recognise."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


def valid(events: list[LogEvent]) -> bool:
    """What PutLogEvents asks of a batch; for the size of one event, in the regions that allow the least."""
    sizes = [len(event["message"].encode()) + 26 for event in events]
    times = [event["timestamp"] for event in events]
    return (
        0 < len(events) <= 10_000
        and min(sizes) > 26
        and max(sizes) <= 262_144
        and sum(sizes) <= 1_048_576
        and times == sorted(times)
        and times[-1] - times[0] < 24 * 60 * 60 * 1000
    )


class FakeLogs:
    """CloudWatch Logs as far as the shipper uses it, with errors to raise from a script."""

    def __init__(self, groups: tuple[str, ...] = (GROUP,)) -> None:
        self.groups = set(groups)
        self.streams: set[str] = set()
        self.batches: list[list[LogEvent]] = []
        self.put_script: list[Exception | dict[str, int]] = []
        self.create_error: Exception | None = None
        self.arrived = threading.Event()
        self.invalid = 0

    def create_log_group(self, logGroupName: str) -> None:
        self.groups.add(logGroupName)

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        if self.create_error:
            raise self.create_error
        if logGroupName not in self.groups:
            raise AwsError("ResourceNotFoundException")
        if logStreamName in self.streams:
            raise AwsError("ResourceAlreadyExistsException")
        self.streams.add(logStreamName)

    def put_log_events(
        self, logGroupName: str, logStreamName: str, logEvents: list[LogEvent]
    ) -> dict[str, Any]:
        answer = self.put_script.pop(0) if self.put_script else {}
        if isinstance(answer, Exception):
            raise answer
        if logStreamName not in self.streams:
            raise AwsError("ResourceNotFoundException")
        if not valid(logEvents):
            self.invalid += 1
            raise AwsError("InvalidParameterException")
        self.batches.append(logEvents)
        self.arrived.set()
        return {"rejectedLogEventsInfo": answer} if answer else {}

    def messages(self) -> list[str]:
        return [event["message"] for batch in self.batches for event in batch]


@pytest.fixture
def logs() -> FakeLogs:
    return FakeLogs()


@pytest.fixture
def make(logs: FakeLogs) -> Callable[..., Shipper]:
    def make(remaining: float | None = None, flush_seconds: float = 60) -> Shipper:
        made = Shipper(DESTINATION, lambda: remaining, flush_seconds, client=lambda: logs)
        made.start()
        return made

    return make


def add(to: Shipper, *texts: str) -> None:
    for text in texts:
        to.add(logging.INFO, text, time.time())


def event(message: str = "m", timestamp: int = 0) -> LogEvent:
    return {"timestamp": timestamp, "message": message}


class TestLawfulBatches:
    @pytest.mark.bad_input(35)
    def test_no_events_no_batch(self) -> None:
        assert list(valid_batches([])) == []

    @pytest.mark.bad_input(36)
    def test_ten_thousand_events_are_one_batch_and_one_more_makes_two(self) -> None:
        assert [len(batch) for batch in valid_batches([event()] * 10_000)] == [10_000]
        assert [len(batch) for batch in valid_batches([event()] * 25_000)] == [10_000, 10_000, 5_000]

    @pytest.mark.bad_input(37)
    def test_bytes_count_with_26_for_each_event(self) -> None:
        # 1,048,576 = 8 * 131,072: eight events of 131,072 - 26 bytes fill a batch to the last byte.
        full = [event("x" * (131_072 - 26))] * 8

        assert [len(batch) for batch in valid_batches(full)] == [8]
        assert [len(batch) for batch in valid_batches([event("x" * (131_072 - 25)), *full[1:]])] == [7, 1]

    @pytest.mark.bad_input(39)
    def test_bytes_count_as_utf8(self) -> None:
        assert event_bytes(event("語")) == 3 + 26
        assert [len(batch) for batch in valid_batches([event("語" * 43_681)] * 9)] == [8, 1]

    @pytest.mark.bad_input(44)
    def test_a_batch_spans_less_than_a_day(self) -> None:
        day = 24 * 60 * 60 * 1000

        assert len(list(valid_batches([event(timestamp=0), event(timestamp=day - 1)]))) == 1
        assert len(list(valid_batches([event(timestamp=0), event(timestamp=day)]))) == 2


@pytest.mark.bad_input(44)
@pytest.mark.parametrize(
    ("info", "count"),
    [
        ({}, 0),
        ({"tooNewLogEventStartIndex": 7}, 3),
        ({"tooOldLogEventEndIndex": 2}, 2),
        ({"tooOldLogEventEndIndex": 2, "expiredLogEventEndIndex": 4}, 4),
        ({"tooOldLogEventEndIndex": 2, "tooNewLogEventStartIndex": 9}, 3),
    ],
)
def test_rejected_events_are_counted(info: dict[str, int], count: int) -> None:
    assert rejected_count(info, 10) == count


def test_everything_is_sent_in_order_and_ends_with_the_marker(
    make: Callable[..., Shipper], logs: FakeLogs
) -> None:
    made = make()
    add(made, "one", "two", "two")

    marker = made.close(contract.SUCCEEDED, "request-1")

    assert decode_lines(logs.messages()) == ["one", "two", "two"]
    assert contract.decode(logs.messages()[-1]) == marker
    assert marker == contract.EndMarker("succeeded", 3, request_id="request-1", number=4)
    assert made.delivered
    assert made.complaint() == ""


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["x"] * 25_000, marks=pytest.mark.bad_input(36), id="25,000 lines"),
        pytest.param(["x" * 100_000] * 31, marks=pytest.mark.bad_input(37), id="3 MB"),
        pytest.param(["x" * 5_000_000], marks=pytest.mark.bad_input(38), id="one line of 5 MB"),
        pytest.param(["x" + "語" * 1_000_000], marks=pytest.mark.bad_input(39), id="three bytes each"),
        pytest.param(["", " ", "\n"], marks=pytest.mark.bad_input(40), id="empty lines"),
    ],
)
def test_whatever_a_call_says_is_sent_in_valid_batches(logs: FakeLogs, lines: list[str]) -> None:
    made = Shipper(DESTINATION, lambda: None, client=lambda: logs)
    add(made, *lines)
    # All of it is there when the thread begins, as after a log service that was away for a while.
    made.start()
    marker = made.close(contract.SUCCEEDED)

    assert decode_lines(logs.messages()) == lines
    assert (logs.invalid, marker.lost) == (0, 0)
    assert made.delivered


@pytest.mark.bad_input(35)
def test_a_silent_call_sends_the_marker_alone(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    make().close(contract.SUCCEEDED)

    assert [len(batch) for batch in logs.batches] == [1]
    assert logs.invalid == 0


def test_lines_are_sent_while_the_call_goes_on(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    made = make(flush_seconds=0.01)
    add(made, "early")

    assert logs.arrived.wait(5)
    assert logs.messages() == ["[INFO #1] early"]
    made.close(contract.SUCCEEDED)


def test_a_full_batch_does_not_wait(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    made = make()
    add(made, *["x" * 200_000] * 6)

    assert logs.arrived.wait(5)
    made.close(contract.SUCCEEDED)


@pytest.mark.bad_input(46)
def test_near_the_deadline_lines_do_not_wait(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    made = make(remaining=shipper.DEADLINE_MARGIN_SECONDS)
    add(made, "late")

    assert logs.arrived.wait(5)
    made.close(contract.SUCCEEDED)


@pytest.mark.bad_input(46)
def test_far_from_the_deadline_the_wait_ends_at_the_margin() -> None:
    made = Shipper(DESTINATION, lambda: 1.3, 0.4)

    assert made._wait_seconds() == pytest.approx(0.3)


def test_missing_group_is_made(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    logs.groups.clear()
    make().close(contract.SUCCEEDED)

    assert logs.groups == {GROUP}
    assert len(logs.messages()) == 1


def test_existing_stream_is_used(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    logs.streams.add(STREAM)
    made = make()
    made.close(contract.SUCCEEDED)

    assert made.delivered


def test_without_leave_to_make_streams_events_are_put_all_the_same(
    make: Callable[..., Shipper], logs: FakeLogs
) -> None:
    logs.streams.add(STREAM)
    logs.create_error = AwsError("AccessDeniedException")
    made = make()
    made.close(contract.SUCCEEDED)

    assert made.delivered


def test_a_stream_deleted_in_mid_run_is_made_again(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    made = make(flush_seconds=0.01)
    add(made, "one")
    assert logs.arrived.wait(5)
    logs.streams.clear()
    add(made, "two")
    made.close(contract.SUCCEEDED)

    assert decode_lines(logs.messages()) == ["one", "two"]


@pytest.mark.parametrize(
    "passing",
    [ConnectionError("refused"), AwsError("ThrottlingException"), AwsError("InternalFailure", 500)],
    ids=repr,
)
def test_a_passing_failure_loses_nothing(
    make: Callable[..., Shipper], logs: FakeLogs, monkeypatch: pytest.MonkeyPatch, passing: Exception
) -> None:
    monkeypatch.setattr(shipper, "RETRY_SECONDS", 0.001)
    logs.put_script = [passing, passing]
    made = make()
    add(made, "one", "two")
    marker = made.close(contract.SUCCEEDED)

    assert decode_lines(logs.messages()) == ["one", "two"]
    assert marker.lost == 0
    assert made.complaint() == ""


def test_a_lasting_refusal_counts_as_lost_and_the_rest_goes_on(
    make: Callable[..., Shipper], logs: FakeLogs
) -> None:
    logs.put_script = [AwsError("InvalidParameterException")]
    made = make()
    add(made, "one", "two")
    marker = made.close(contract.SUCCEEDED)

    assert marker.lost == 2
    assert contract.decode(logs.messages()[-1]) == marker
    assert "2 of 2 log events are not in CloudWatch" in made.complaint()


@pytest.mark.bad_input(44)
def test_rejected_events_are_in_the_marker(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    logs.put_script = [{"tooOldLogEventEndIndex": 1}]
    made = make()
    add(made, "one", "two")

    assert made.close(contract.SUCCEEDED).rejected == 1
    assert "1 rejected" in made.complaint()


def test_a_dead_log_service_holds_the_call_up_no_longer_than_its_time_allows(
    logs: FakeLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def put_log_events(*_: object, **__: object) -> dict[str, Any]:
        released.wait(30)
        return {}

    monkeypatch.setattr(logs, "put_log_events", put_log_events)
    made = Shipper(DESTINATION, lambda: 0.3, client=lambda: logs)
    made.start()
    add(made, "one")
    started = time.monotonic()

    marker = made.close(contract.SUCCEEDED)

    assert time.monotonic() - started < 1
    assert marker.lost == 1
    assert not made.delivered
    assert made.complaint()
    released.set()


def test_boto3_missing_or_broken_is_a_failing_log_service() -> None:
    def client() -> Any:
        raise ImportError("no boto3")

    made = Shipper(DESTINATION, lambda: 0.3, client=client)
    made.start()
    add(made, "one")
    made.close(contract.SUCCEEDED)

    assert "ImportError: no boto3" in made.complaint()


def test_memory_is_bounded_while_nothing_can_be_sent(
    make: Callable[..., Shipper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipper, "MAX_PENDING_BYTES", 100)
    made = make()
    add(made, "x" * 50, "y" * 50)

    assert made.close(contract.SUCCEEDED).lost == 1


@pytest.mark.bad_input(48)
def test_lines_after_the_end_are_dropped(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    made = make()
    made.close(contract.SUCCEEDED)
    add(made, "too late")

    assert len(logs.messages()) == 1
    assert made.complaint() == ""


def test_client_gives_up_in_time_and_leaves_trying_again_to_the_shipper(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-2")
    config = shipper.logs_client.__wrapped__().meta.config

    assert config.retries["total_max_attempts"] == 1
    assert config.connect_timeout + config.read_timeout < shipper.CLOSE_SECONDS


class TestTimes:
    """Event times lie within the call and never go back, whatever the record says."""

    def times(self, make: Callable[..., Shipper], logs: FakeLogs, *offsets: float) -> tuple[list[float], int]:
        made = make()
        start = time.time()
        for offset in offsets:
            made.add(logging.INFO, "x", start + offset)
        marker = made.close(contract.SUCCEEDED)
        sent = [event["timestamp"] / 1000 - start for batch in logs.batches for event in batch]
        assert sent == sorted(sent)
        assert len(sent) == len(offsets) + 1
        return sent, marker.clamped

    @pytest.mark.bad_input(44)
    @pytest.mark.parametrize(
        "offset",
        [3 * 3600, -15 * 86400, -25 * 3600, -11 * 3600],
        ids=["ahead", "old", "a day before the others", "wrong zone"],
    )
    def test_time_outside_of_the_call_is_clamped_and_counted(
        self, make: Callable[..., Shipper], logs: FakeLogs, offset: float
    ) -> None:
        sent, clamped = self.times(make, logs, 0, offset, 0)

        assert clamped == 1
        assert all(-0.01 < moment < 5 for moment in sent)

    @pytest.mark.bad_input(41)
    def test_records_that_overtake_one_another_keep_their_order(
        self, make: Callable[..., Shipper], logs: FakeLogs
    ) -> None:
        _, clamped = self.times(make, logs, 0, -0.005, -0.002)

        assert clamped == 0

    @pytest.mark.bad_input(42)
    def test_milliseconds_are_kept(self, make: Callable[..., Shipper], logs: FakeLogs) -> None:
        made = make()
        moment = time.time()
        made.add(logging.INFO, "x", moment)
        made.close(contract.SUCCEEDED)

        assert logs.batches[0][0]["timestamp"] == int(moment * 1000)


def test_threads_may_add_at_once(make: Callable[..., Shipper], logs: FakeLogs) -> None:
    made = make(flush_seconds=0.001)
    threads = [threading.Thread(target=add, args=(made, *map(str, range(500)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made.close(contract.SUCCEEDED)

    numbers = [decoded.number for decoded in map(contract.decode, logs.messages()) if decoded]
    assert numbers == list(range(1, 2002))


class TestClaim:
    """Whoever makes the stream has the event."""

    @pytest.fixture
    def unstarted(self, logs: FakeLogs) -> Shipper:
        return Shipper(DESTINATION, lambda: None, client=lambda: logs)

    def test_who_makes_the_stream_has_it(self, logs: FakeLogs, unstarted: Shipper) -> None:
        assert unstarted.claim()
        assert logs.streams == {STREAM}

    def test_who_finds_the_stream_there_has_not(self, logs: FakeLogs, unstarted: Shipper) -> None:
        logs.streams.add(STREAM)

        assert not unstarted.claim()

    @pytest.mark.parametrize("there", [False, True])
    def test_a_missing_group_is_made(self, logs: FakeLogs, unstarted: Shipper, there: bool) -> None:
        logs.groups.clear()
        if there:
            logs.streams.add(STREAM)

        assert unstarted.claim() is not there
        assert logs.groups == {GROUP}

    def test_a_log_service_that_fails_keeps_nobody_from_running(
        self, logs: FakeLogs, unstarted: Shipper
    ) -> None:
        logs.create_error = AwsError("ServiceUnavailableException", 503)

        assert unstarted.claim()

    def test_the_claimed_stream_is_not_made_again(self, logs: FakeLogs, unstarted: Shipper) -> None:
        unstarted.claim()
        logs.create_error = AssertionError("made twice")
        unstarted.start()
        add(unstarted, "line")

        unstarted.close(contract.SUCCEEDED)

        assert logs.messages()[0] == "[INFO #1] line"


def test_a_stream_that_may_not_be_made_and_is_not_there_does_not_hold_up_the_call(
    logs: FakeLogs, make: Callable[..., Shipper]
) -> None:
    logs.create_error = AwsError("AccessDeniedException")
    made = make()
    add(made, "lost")
    begin = time.monotonic()

    marker = made.close(contract.SUCCEEDED)

    assert marker.lost == 1
    assert time.monotonic() - begin < shipper.CLOSE_SECONDS / 2


def test_what_an_aws_client_says_makes_no_stream_that_another_decorator_is_about_to_make(
    logs: FakeLogs,
) -> None:
    made = Shipper(DESTINATION, lambda: None, 0.01, is_nested=True, client=lambda: logs)
    made.start()

    made.add(logging.INFO, "Found credentials", time.time(), "botocore.credentials")
    assert not logs.arrived.wait(0.2)
    assert logs.streams == set()

    made.add(logging.INFO, "one", time.time(), "root")
    assert logs.arrived.wait(5)
    made.close(contract.SUCCEEDED)
    assert [message.split("] ")[1][:5] for message in logs.messages()] == ["Found", "one", '{"sta']
