"""How the caller names a try and its log stream. A function does without, and starts the sooner for it."""

from datetime import datetime
from hashlib import sha256
from urllib.parse import quote

from airflow_relay import contract


def idempotency_key(dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int) -> str:
    """Name one try of one task. Each part is percent-encoded, so the key can be split at ``/``."""
    return "/".join(_escape(str(part)) for part in (dag_id, run_id, task_id, map_index, try_number))


def stream_name(day: datetime, qualifier: str | None, key: str, unique_id: str) -> str:
    """Name the log stream of one try: ``2025/11/20/[$LATEST]<dag>/<run>/<task>/<map>/<try>/<unique id>``.

    It begins as Lambda's own streams do. What CloudWatch does not allow (``:`` and ``*``) is percent-encoded.
    A name over 512 characters is cut in the middle, and a hash of the front keeps it distinct.

    :param key: the try, from :func:`idempotency_key`.
    :param unique_id: makes the name new for each execution, also if a try is run again.
    """
    front = f"{day:%Y/%m/%d}/[{_escape(qualifier or '$LATEST')}]{key}"
    name = f"{front}/{unique_id}"
    if len(name) <= contract.MAX_STREAM_NAME_CHARS:
        return name
    tail = f"~{sha256(front.encode()).hexdigest()[:16]}/{unique_id}"
    return front[: contract.MAX_STREAM_NAME_CHARS - len(tail)] + tail


def _escape(part: str) -> str:
    return quote(part, safe="$+@ ()", errors="replace")
