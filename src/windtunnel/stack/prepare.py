"""Gets what the stack stands on: a Docker engine and images, or Python environments; a browser for the suite.

Where no registry answers or nothing is installed, the scripts in ``offline/`` make it from Debian's packages.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable

from windtunnel.compose.stack import ComposeStack
from windtunnel.diagnosis import preflight
from windtunnel.diagnosis.preflight import Finding
from windtunnel.local.stack import ProcessStack
from windtunnel.stack.base import PORT_SETTINGS, Stack, StackError

# How long a registry may take to say that it has the image, in seconds.
REGISTRY_TIMEOUT = 20.0

Say = Callable[[str], None]


class Unmet(Exception):
    """Something that has to be there is not; nothing was started.

    The findings say what it is and what to do.
    """

    def __init__(self, *findings: Finding) -> None:
        """Carry the findings."""
        super().__init__("\n".join(finding.problem for finding in findings))
        self.findings = findings


def check(stack: Stack, say: Say) -> None:
    """Everything that has to be in order before a start; installs a Docker engine where that is possible.

    :raises Unmet: with all that was found.
    """
    if findings := preflight.before_engine(stack):
        raise Unmet(*findings)
    if isinstance(stack, ComposeStack):
        docker(stack, say)
    if findings := preflight.with_engine(stack):
        raise Unmet(*findings)
    if isinstance(stack, ComposeStack):
        free_ports(stack, say)


def parts(stack: Stack, say: Say, on_build: Say) -> None:
    """Get what the stack is made of, as far as it is not there: images, or environments.

    :param on_build: gets the builder's output.
    :raises Unmet: when a base image can be neither pulled nor made.
    :raises StackError: when a build or an installation fails.
    """
    if isinstance(stack, ComposeStack):
        images(stack, say, on_build)
    elif isinstance(stack, ProcessStack):
        stack.venvs.install(say)


def free_ports(compose: ComposeStack, say: Say) -> None:
    """Let Docker choose a port where the usual one is taken and no other is set."""
    for service, (name, usual) in PORT_SETTINGS.items():
        if usual and not compose.setting(name):
            by = preflight.foreign_holder(compose, service, int(usual))
            if by:
                say(f"port {usual} is in use by {by}: {service} takes another")
                compose.environment[name] = "0"


def docker(compose: ComposeStack, say: Say) -> None:
    """See to it that a Docker engine answers and is new enough.

    :raises Unmet: when there is none, and none can be installed here.
    """
    if preflight.engine_version(compose) is None and _is_debian_root():
        offline("engine.sh", stack=compose, say=say)
    if findings := list(preflight.versions(compose)):
        raise Unmet(*findings)


def _is_debian_root() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def offline(script: str, *arguments: str, stack: Stack, say: Say) -> None:
    """Run one of the scripts in ``offline/``; it says itself what it does.

    :raises Unmet: when it fails, with its last words.
    """
    try:
        stack.stream(str(stack.root / "offline" / script), *arguments, what=f"offline/{script}", on_line=say)
    except StackError as error:
        last = error.output.splitlines()[-1:] or [error.what]
        raise Unmet(Finding(last[0], f"By hand: offline/{' '.join((script, *arguments))}")) from error


def is_prepared(stack: Stack) -> bool:
    """Whether what a running stack was started from is still there: a container keeps its image by itself."""
    return not (isinstance(stack, ProcessStack) and stack.venvs.missing())


def images(compose: ComposeStack, say: Say, on_build: Say) -> None:
    """Get the base images and build the stack's own; all of it cached, so the second time takes a second.

    :param on_build: gets the builder's output.
    :raises Unmet: when a base image can be neither pulled nor made.
    :raises StackError: when a build fails.
    """
    base(compose, say)
    compose.build(on_build)


def base(compose: ComposeStack, say: Say) -> None:
    """Pull the images that ours are built from and run beside; where no registry answers, make stand-ins.

    :raises Unmet: when neither can be done.
    """
    missing = []
    for image in preflight.missing_images(compose, preflight.base_images(compose)):
        say(f"pulling {image}")
        if not pull(compose, image):
            missing.append(image)
    if missing and not _is_debian_root():
        raise Unmet(
            Finding(
                f"no registry has {', '.join(missing)} for us",
                "Check the network, or bring the images: docker save … | docker load; "
                "on Debian, as root, offline/images.sh makes them.",
            )
        )
    if missing:
        offline("images.sh", *missing, stack=compose, say=say)


def pull(compose: ComposeStack, image: str) -> bool:
    """Pull an image; False when no registry answers within ``REGISTRY_TIMEOUT``, or it does not have it."""
    try:
        process = subprocess.Popen(  # noqa: S603
            ["docker", "pull", image],  # noqa: S607
            env=compose.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError:
        return False
    # The first line comes once the registry has answered; from then on only the image's size counts.
    impatience = threading.Timer(REGISTRY_TIMEOUT, process.terminate)
    impatience.start()
    try:
        for _ in process.stdout or ():
            impatience.cancel()
    finally:
        impatience.cancel()
    return process.wait() == 0


# The commands that may be one; the test of the web page takes the first that is there.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def browser(stack: Stack, say: Say) -> None:
    """See to it that there is a Chromium for the test of the web page.

    :raises Unmet: when there is none, and none can be installed here.
    """
    if any(map(shutil.which, CHROMIUM)):
        return
    if not _is_debian_root():
        raise Unmet(Finding("no command `chromium`", "Install Chromium; on Debian: apt-get install chromium"))
    offline("browser.sh", stack=stack, say=say)


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
