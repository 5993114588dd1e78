"""What can go wrong with a stack, and what to do about it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

# More than these are summed up, so that a person can read it; and how many of the nearest names are shown.
LISTED, NEAREST = 30, 5


class StackError(Exception):
    """Something could not be done with a stack."""

    def __init__(self, what: str, output: str = "", next_step: str = "") -> None:
        """Join the parts to a message.

        :param what: what was tried, and on what.
        :param output: the end of what the command printed, or of the service's log.
        :param next_step: what to do now.
        """
        super().__init__("\n".join(part for part in (what, output, next_step) if part))
        self.what = what
        self.output = output
        self.next_step = next_step


class ServiceFailed(StackError):
    """One service of the stack cannot become ready."""

    def __init__(self, service: str, what: str, output: str = "", next_step: str = "") -> None:
        """Join the parts to a message, as :class:`StackError` does."""
        super().__init__(what, output, next_step)
        self.service = service


@dataclass(frozen=True)
class Finding:
    """Something that is not in order, and what to do about it."""

    problem: str
    remedy: str


class Unmet(Exception):
    """A precondition does not hold, so nothing was started. The findings say which one and what to do."""

    def __init__(self, *findings: Finding) -> None:
        """Carry the findings."""
        super().__init__("\n".join(finding.problem for finding in findings))
        self.findings = findings


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the remedy for a name that is not known: the nearest one, and all there are."""
    there = list(names)
    near = difflib.get_close_matches(name, there, n=NEAREST)
    did_you_mean = f"Did you mean {near[0]}? " if near else ""
    if len(there) <= LISTED:
        return f"{did_you_mean}There are: {', '.join(there) or 'none'}"
    nearest = f"; the nearest are: {', '.join(near)}" if near else ""
    return f"{did_you_mean}There are {len(there):,}{nearest}"
