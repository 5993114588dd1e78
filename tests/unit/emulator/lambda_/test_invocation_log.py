"""The log of one invocation."""

import pytest

from windtunnel_emulator.lambda_.invocation_log import (
    InvocationLog,
    failed_status,
    init_report_line,
    report_line,
)


def test_take_empties_the_log() -> None:
    log = InvocationLog()
    log.write(b"one\n")
    assert log.take() == "one\n"
    assert log.take() == ""


def test_platform_line_begins_a_line() -> None:
    log = InvocationLog()
    log.write(b"no line feed")
    log.line("END")
    log.line("REPORT")
    assert log.take() == "no line feed\nEND\nREPORT\n"


def test_lines_of_a_traceback_are_separated_by_line_feeds() -> None:
    log = InvocationLog()
    log.write(b"[ERROR] ValueError: boom\rTraceback (most recent call last):\r  File\nlast\n")
    assert log.take() == "[ERROR] ValueError: boom\nTraceback (most recent call last):\n  File\nlast\n"


def test_an_error_with_lines_of_its_own() -> None:
    log = InvocationLog()
    log.write(b"[ERROR] ValueError: one\ntwo\rTraceback (most recent call last):\r  File\n")
    assert log.take() == "[ERROR] ValueError: one\ntwo\nTraceback (most recent call last):\n  File\n"


def test_carriage_returns_of_the_function_stay() -> None:
    log = InvocationLog()
    log.write(b"10 %\r20 %\r\n[ERROR]\ta\rb\n")
    assert log.take() == "10 %\r20 %\r\n[ERROR]\ta\rb\n"


def test_bytes_that_are_no_text_are_replaced() -> None:
    log = InvocationLog()
    log.write(b"\xff\n")
    assert log.take() == "\N{REPLACEMENT CHARACTER}\n"


@pytest.mark.parametrize("size", [1, 3, 100])
def test_long_output_loses_its_middle_and_says_so(size: int) -> None:
    log = InvocationLog(max_bytes=10, tail_bytes=5)
    output = b"0123456789" + b"x" * 50 + b"tail\n"
    for begin in range(0, len(output), size):
        log.write(output[begin : begin + size])
    assert log.take() == "0123456789\n[50 bytes of output were dropped here]\ntail\n"


def test_output_within_bounds_loses_nothing() -> None:
    log = InvocationLog(max_bytes=10, tail_bytes=5)
    log.write(b"0123456789abcde")
    assert log.take() == "0123456789abcde"


def test_report_of_a_cold_start_bills_the_init_phase() -> None:
    line = report_line(
        request_id="id",
        duration_ms=1.001,
        init_duration_ms=100.5,
        memory_size_mb=128,
        max_memory_used_mb=30,
    )
    assert line == (
        "REPORT RequestId: id\tDuration: 1.00 ms\tBilled Duration: 102 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 30 MB\tInit Duration: 100.50 ms\t"
    )


def test_report_of_a_failure() -> None:
    line = report_line(
        request_id="id",
        duration_ms=2,
        init_duration_ms=None,
        memory_size_mb=128,
        max_memory_used_mb=30,
        status=failed_status("Runtime.ExitError"),
    )
    assert line == (
        "REPORT RequestId: id\tDuration: 2.00 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 30 MB\tStatus: error\tError Type: Runtime.ExitError"
    )


def test_init_report() -> None:
    line = init_report_line("init", 9999.27, failed_status(None))
    assert line == "INIT_REPORT Init Duration: 9999.27 ms\tPhase: init\tStatus: timeout"
