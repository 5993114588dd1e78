"""Which jobs ``ListJobs`` lists, and answers in pages."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from windtunnel_emulator.batch.errors import client_exception
from windtunnel_emulator.batch.jobs import RUNNING, Job, milliseconds
from windtunnel_emulator.batch.retries import fits

type Request = Mapping[str, Any]


def of_status(jobs: Iterable[Job], status: str | None) -> list[Job]:
    """Return the jobs of a status; without one those that run."""
    return [job for job in jobs if job.status == (status or RUNNING)]


def filtered(jobs: Sequence[Job], request: Request) -> list[Job]:
    """Return what ``ListJobs`` lists of a queue's jobs; with a filter the latest first, of any status.

    :raises CommonServiceException: ``ClientException``, if the filter cannot be used.
    """
    filters = request.get("filters") or []
    if not filters:
        return of_status(jobs, request.get("jobStatus"))
    if len(filters) > 1:
        raise client_exception("Only one filter can be used at a time")
    name, values = filters[0].get("name"), filters[0].get("values") or []
    if name not in _FILTERS or not values:
        raise client_exception(f"The filter must have values, and be one of {', '.join(_FILTERS)}")
    if name.endswith("_CREATED_AT") and not all(value.isdecimal() for value in values):
        raise client_exception(f"The values of the filter {name} must be milliseconds since 1970")
    found = [job for job in jobs if any(_FILTERS[name](job, value) for value in values)]
    if name == "SHARE_IDENTIFIER" and request.get("jobStatus"):
        found = of_status(found, request["jobStatus"])
    return sorted(found, key=lambda job: job.order, reverse=True)


def _has_definition(job: Job, value: str) -> bool:
    return job.definition == value or fits(job.definition.rpartition("/")[2].partition(":")[0], value)


_FILTERS: Mapping[str, Callable[[Job, str], bool]] = {
    "JOB_NAME": lambda job, value: fits(job.name.lower(), value.lower()),
    "JOB_DEFINITION": _has_definition,
    "BEFORE_CREATED_AT": lambda job, value: (milliseconds(job.created) or 0) < int(value),
    "AFTER_CREATED_AT": lambda job, value: (milliseconds(job.created) or 0) > int(value),
    "SHARE_IDENTIFIER": lambda job, value: job.kept["shareIdentifier"] == value,
}


def page(name: str, found: Sequence[dict[str, Any]], key: str, request: Request, most: int) -> dict[str, Any]:
    """Return a page of an answer.

    :param name: what the answer calls the list.
    :param key: what tells its elements apart; the next page's first is the token for it.
    :param most: how many there are on a page at most.
    :raises CommonServiceException: ``ClientException``, if the token or the size of the page is wrong.
    """
    size = request.get("maxResults") or most
    if size < 1:
        raise client_exception("maxResults must be at least 1")
    keys = [one[key] for one in found]
    token = request.get("nextToken")
    if token and token not in keys:
        raise client_exception("Invalid nextToken")
    begin = keys.index(token) if token else 0
    end = begin + min(size, most)
    return {name: list(found[begin:end]), **({"nextToken": keys[end]} if end < len(keys) else {})}
