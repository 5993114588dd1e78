"""A stand-in for CloudWatch Logs, as far as the agent calls it."""

from typing import Any

from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError


def refused(code: str) -> ClientError:
    """An error as CloudWatch answers it."""
    return ClientError({"Error": {"Code": code, "Message": code}}, "it")


class CloudWatch:
    """Streams of events; it may be away, or lose its answer."""

    def __init__(self) -> None:
        self.groups = {"it"}
        self.streams: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.calls: list[list[dict[str, Any]]] = []
        self.is_away = False
        self.loses_answers = 0

    def create_log_group(self, logGroupName: str) -> None:
        """Make a group."""
        self._be_there()
        if logGroupName in self.groups:
            raise refused("ResourceAlreadyExistsException")
        self.groups.add(logGroupName)

    def create_log_stream(self, logGroupName: str, logStreamName: str) -> None:
        """Make a stream."""
        self._be_there()
        if logGroupName not in self.groups:
            raise refused("ResourceNotFoundException")
        if (logGroupName, logStreamName) in self.streams:
            raise refused("ResourceAlreadyExistsException")
        self.streams[logGroupName, logStreamName] = []

    def put_log_events(self, logGroupName: str, logStreamName: str, logEvents: list[dict[str, Any]]) -> None:
        """Take events, within the limits of a call."""
        self._be_there()
        if (logGroupName, logStreamName) not in self.streams:
            raise refused("ResourceNotFoundException")
        sizes = [len(one["message"].encode()) for one in logEvents]
        if not all(sizes) or max(sizes) > 262_144 - 26 or sum(sizes) + 26 * len(sizes) > 1_048_576:
            raise refused("InvalidParameterException")
        if len(sizes) > 10_000:
            raise refused("InvalidParameterException")
        self.calls.append(logEvents)
        self.streams[logGroupName, logStreamName] += logEvents
        if self.loses_answers:
            self.loses_answers -= 1
            raise ReadTimeoutError(endpoint_url="it")

    def get_log_events(self, logGroupName: str, logStreamName: str, limit: int, startFromHead: bool) -> Any:
        """Return the last events."""
        assert not startFromHead
        self._be_there()
        if (logGroupName, logStreamName) not in self.streams:
            raise refused("ResourceNotFoundException")
        return {"events": self.streams[logGroupName, logStreamName][-limit:]}

    def lines(self, stream: str = "main") -> list[str]:
        """The messages of a stream."""
        return [one["message"] for one in self.streams.get(("it", stream), [])]

    def _be_there(self) -> None:
        if self.is_away:
            raise EndpointConnectionError(endpoint_url="it")
