"""The images that a stack is made of: pulled, made without a registry, built, built for tests."""

import os
import re
import subprocess
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from windtunnel.stack import offline
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError, Unmet
from windtunnel.stack.settings import REQUIREMENTS_SETTING, STATE_FOLDER

if TYPE_CHECKING:
    from windtunnel.stack.base import Say, Stack

CA_SETTING = "CA_BUNDLE"

# How long a registry may take to say that it has the image, in seconds.
REGISTRY_TIMEOUT = 20.0

# Where an image has its venvs.
VENVS = {"airflow": "/opt/venv", "localstack": "/opt/localstack", "lambda": "/opt/lambda"}


class Images:
    """The images of one stack."""

    def __init__(self, stack: "Stack") -> None:
        """Ask nothing yet."""
        self._stack = stack

    def missing(self, images: Iterable[str]) -> list[str]:
        """Return those of the images that the Engine does not have."""
        return [image for image in images if not self._has(image)]

    def _has(self, image: str) -> bool:
        command = ("docker", "image", "inspect", "--format", "{{.Id}}", image)
        try:
            self._stack.run(*command, what="looking for an image")
        except StackError:
            return False
        return True

    def base_images(self) -> list[str]:
        """Return the images that come from elsewhere: of services, and those of the Dockerfile."""
        services = self._stack.configuration["services"].values()
        built = {service["image"] for service in services if "build" in service}
        dockerfile = (self._stack.root / "Dockerfile").read_text()
        stages = re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE)
        started_from = set(re.findall(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)) - set(stages)
        return sorted({service["image"] for service in services} - built | started_from)

    def get_base_images(self, say: "Say") -> None:
        """Pull the base images; if no registry answers, make images of the same names.

        :raises Unmet: if neither can be done.
        """
        missing = []
        for image in self.missing(self.base_images()):
            say(f"pulling {image}")
            if not self.pull(image):
                missing.append(image)
        if missing and not offline.is_debian_root():
            raise Unmet(
                Finding(
                    f"no registry has {', '.join(missing)} for us",
                    "Check the network, or bring the images: docker save … | docker load; "
                    "on Debian, as root, offline/images.sh makes them.",
                )
            )
        if missing:
            offline.run(self._stack, "images.sh", *missing, say=say)

    def pull(self, image: str) -> bool:
        """Pull an image; False if no registry has it or none answers within ``REGISTRY_TIMEOUT``."""
        try:
            process = subprocess.Popen(  # noqa: S603
                ["docker", "pull", image],  # noqa: S607
                env=self._stack.command_variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        except FileNotFoundError:
            return False
        # The first line comes once the registry has answered; from then on only the image's size counts.
        impatience = threading.Timer(REGISTRY_TIMEOUT, process.terminate)
        impatience.start()
        with process:
            try:
                for _ in process.stdout or ():
                    impatience.cancel()
            finally:
                impatience.cancel()
        return process.returncode == 0

    def registry_has(self, image: str) -> bool:
        """Whether a registry has an image; False if none answers within ``REGISTRY_TIMEOUT``."""
        command = ["docker", "manifest", "inspect", image]
        try:
            answer = subprocess.run(command, capture_output=True, timeout=REGISTRY_TIMEOUT, check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return False
        return answer.returncode == 0

    # Building

    def build(self, say: "Say", on_line: "Say") -> None:
        """Get the base images and build the stack's own; if all of it is cached, that takes a second."""
        self.get_base_images(say)
        self._stack.stream(
            "docker", "compose", "--progress", "plain", "build",
            what="building the images", on_line=on_line,
            env={**self._stack.command_variables, **self._requirements()},
            next_step=f"The last lines above name the step. See {COMMAND} doctor.",
        )  # fmt: skip

    def _requirements(self) -> dict[str, str]:
        """Copy the user's requirements to where a build sees them, in the checkout."""
        settings = self._stack.settings
        if not settings.get(REQUIREMENTS_SETTING):
            return {}
        source = settings.requirements_file()
        target = settings.root / STATE_FOLDER / "requirements.txt"
        target.parent.mkdir(exist_ok=True)
        if source != target:
            target.write_bytes(source.read_bytes())
        return {REQUIREMENTS_SETTING: str(target.relative_to(settings.root))}

    def build_for_tests(self, parts: Iterable[str], say: "Say", on_line: "Say") -> None:
        """Build an image with pytest and mypy for each part."""
        self.get_base_images(say)
        bundle = self._stack.command_variables.get(CA_SETTING) or os.devnull
        for part in parts:
            self._stack.stream(
                "docker", "build", "--progress", "plain", "--secret", f"id=ca_bundle,src={bundle}",
                "--target", f"{part}-test", "--tag", self._for_tests(part), ".",
                what=f"building the image for tests in {part}", on_line=on_line,
            )  # fmt: skip

    def _for_tests(self, part: str) -> str:
        return f"{self._stack.settings.image}-{part}-test"

    def test_command(self, part: str, venv: str, arguments: Sequence[str]) -> list[str]:
        """Return a command in the image for tests of a part, with no network."""
        return [
            "docker", "run", "--rm", "--init", "--network", "none",
            "--volume", f"{self._stack.root}:/checkout:ro", "--workdir", "/checkout",
            "--env", "MYPY_CACHE_DIR=/tmp/mypy", "--entrypoint", f"{VENVS[venv]}/bin/python",
            self._for_tests(part), *arguments,
        ]  # fmt: skip
