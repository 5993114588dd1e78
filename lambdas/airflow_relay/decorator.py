"""The decorator for a function's handler."""

import contextlib
import functools
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TextIO, TypeVar, overload

from airflow_relay import contract
from airflow_relay.capture import captured
from airflow_relay.shipper import FLUSH_SECONDS, Shipper

# The calls under way in this process: one, but for tests.
_active: set[contract.Destination] = set()

Handler = TypeVar("Handler", bound=Callable[..., Any])


class LogServiceFailed(RuntimeError):
    """Log events did not reach CloudWatch, in a function that asked to fail for that (``strict``)."""


@overload
def relay(handler: Handler) -> Handler: ...
@overload
def relay(*, flush_seconds: float = ..., strict: bool = ...) -> Callable[[Handler], Handler]: ...
def relay(
    handler: Handler | None = None, *, flush_seconds: float = FLUSH_SECONDS, strict: bool = False
) -> Handler | Callable[[Handler], Handler]:
    """Send what a Lambda handler logs and prints to the stream its caller named, while it runs.

    Use it as ``@relay`` or ``@relay(...)``. The caller asks by keys of the event (see
    :mod:`airflow_relay.contract`); without them the handler runs as if undecorated. The function's own log is
    as before. What the handler raises is sent as a traceback and raised again, unchanged. Lines that threads
    log after the handler has returned are in the function's own log only. If Lambda delivers the event of an
    asynchronous caller again, the handler does not run again.

    :param flush_seconds: how long a line may wait before it is sent; more than 0.
    :param strict: raise :class:`LogServiceFailed` if the handler succeeded but log events were lost. By
        default the log service never changes a function's result.
    :raises ValueError: for a ``flush_seconds`` of 0 or less.
    """
    if not flush_seconds > 0:
        raise ValueError(f"flush_seconds must be more than 0, not {flush_seconds!r}")

    def decorate(function: Handler) -> Handler:
        @functools.wraps(function)
        def wrapper(event: Any, context: Any = None, *args: Any, **kwargs: Any) -> Any:
            call = functools.partial(function, event, context, *args, **kwargs)
            destination = _destination(event)
            # A handler may call another one with its own event.
            if destination is None or destination in _active:
                return call()
            _active.add(destination)
            try:
                is_wrapped = _is_wrapped(wrapper)
                is_nested = is_wrapped or hasattr(function, "__wrapped__")
                shipper = Shipper(
                    destination, lambda: _remaining_seconds(context), flush_seconds, is_nested=is_nested
                )
                if destination.asynchronous and not shipper.claim(is_wrapped=is_wrapped):
                    _note(
                        "Lambda has delivered this event before, and its handler is not run again: log "
                        f"stream {destination.group_name} {destination.stream_name} exists. {shipper.error}"
                    )
                    return None
                result = _run(call, shipper, str(getattr(context, "aws_request_id", "")))
                if strict and (complaint := shipper.complaint()):
                    raise LogServiceFailed(complaint)
                return result
            finally:
                _active.discard(destination)

        return wrapper  # type: ignore[return-value]

    return decorate if handler is None else decorate(handler)


def _is_wrapped(wrapper: object) -> bool:
    """Say whether a decorator is around this object: Lambda's variable ``_HANDLER`` names another one.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    module, _, name = os.environ.get("_HANDLER", "").rpartition(".")
    return getattr(sys.modules.get(module.replace("/", ".")), name, wrapper) is not wrapper


def _destination(event: Any) -> contract.Destination | None:
    try:
        return contract.Destination.from_event(event)
    except contract.ContractError as error:
        _note(f"the caller's block is ignored, nothing is relayed: {error}")
        return None


def _run(call: Callable[[], Any], shipper: Shipper, request_id: str) -> Any:
    """Run the handler with its output captured, and end the stream."""
    ending: dict[str, Any] = {"status": contract.SUCCEEDED}
    shipper.start()
    try:
        with captured(shipper.add, shipper.thread.ident), _threads_noted():
            result = call()
        if shipper.destination.asynchronous:
            ending = _ending_with(result)
        if not shipper.destination.is_marked:
            # The recipe's operator wants a line of each call, and takes the last one's level for the outcome.
            shipper.add(logging.INFO, "The handler has returned", time.time())
        return result
    except BaseException as error:
        # Lambda reports SystemExit and KeyboardInterrupt as failures too.
        line = "".join(traceback.format_exception_only(error)).strip()
        ending = {"status": contract.FAILED, "error": line}
        shipper.add(logging.ERROR, _traceback(error), time.time())
        raise
    finally:
        marker = shipper.close(request_id=request_id, **ending)
        if complaint := shipper.complaint():
            _note(complaint)
        if shipper.is_left_to_others:
            _note("another decorator has made the log stream, and its lines are not sent a second time")
        # Lambda returns the tail of this log, where the caller finds the marker if the stream is late.
        if shipper.destination.is_marked:
            _note(contract.encode_end(marker.without_result()), sys.stdout)


@contextlib.contextmanager
def _threads_noted() -> Iterator[None]:
    """Name the threads that start during the block and outlive it: their later lines are not relayed."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        if names := [thread.name for thread in threading.enumerate() if thread not in before]:
            _note(
                f"threads that the handler started run on after it: {', '.join(names):.200}. "
                "What they say from now on is not relayed with this call"
            )


def _ending_with(result: object) -> dict[str, Any]:
    try:
        return {"status": contract.SUCCEEDED, **contract.result_fields(result)}
    except contract.ContractError as error:
        # Lambda itself will say the same of the result.
        return {"status": contract.FAILED, "error": f"Runtime.MarshalError: {error}"}


def _traceback(error: BaseException) -> str:
    """Format what the handler raised, from the handler's own frame on."""
    frames = error.__traceback__ and error.__traceback__.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip("\n")


def _remaining_seconds(context: Any) -> float | None:
    """Return how long the function may still run; None in a call by hand, without Lambda's context."""
    milliseconds = getattr(context, "get_remaining_time_in_millis", None)
    return milliseconds() / 1000 if milliseconds else None


def _note(text: str, stream: TextIO | None = None) -> None:
    """Write into the function's own log: to standard error, or to another stream."""
    stream = stream or sys.stderr
    stream.write(f"{contract.NOTE_PREFIX}{text}\n")
    stream.flush()
