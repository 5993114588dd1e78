"""What a person sees of a build."""

import re

from windtunnel.stack.base import Say


class BuildProgress:
    """Picks from the builder's plain output what a person wants to see: each step that took a while."""

    # Shorter steps are not worth a line, in seconds.
    WORTH_SAYING = 1.0

    def __init__(self, say: Say, show: Say) -> None:
        """Remember where to write.

        :param say: gets a line for each step that is done.
        :param show: gets what is being done now.
        """
        self._say = say
        self._show = show
        self._steps: dict[str, str] = {}

    def __call__(self, line: str) -> None:
        """Take one line of the builder's plain output: ``#7 [name 2/4] RUN …``, ``#7 DONE 3.2s``."""
        found = re.match(r"#(\d+) (?:\[(?P<step>[^\]]+)\] (?P<what>.*)|DONE (?P<seconds>[\d.]+)s)$", line)
        if not found:
            return
        number = found[1]
        if found["step"]:
            self._steps[number] = f"[{found['step']}] {found['what']}"
            self._show(self._steps[number])
        elif float(found["seconds"]) >= self.WORTH_SAYING and number in self._steps:
            self._say(f"{self._steps[number][:70]} {found['seconds']} s")
