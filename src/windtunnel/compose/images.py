"""The images that a stack is made of: pulled, made without a registry, built, built for tests."""

import os
import re
import subprocess
import threading
from collections.abc import Iterable

from windtunnel.stack import offline, requirements
from windtunnel.stack.base import Say, Stack
from windtunnel.stack.command import COMMAND
from windtunnel.stack.errors import Finding, StackError, Unmet
from windtunnel.stack.requirements import CONSTRAINT
from windtunnel.stack.settings import REQUIREMENTS_SETTING, STATE_FOLDER, Settings

CA_SETTING = "CA_BUNDLE"

# The file of the user's constraints, in the state folder and in the image.
CONSTRAINTS = "constraints.txt"

# How long a registry may take to say that it has the image, in seconds.
REGISTRY_TIMEOUT = 20.0


def missing(stack: Stack, images: Iterable[str]) -> list[str]:
    """Return the images that the Engine does not have."""
    return [image for image in images if not _is_there(stack, image)]


def _is_there(stack: Stack, image: str) -> bool:
    command = ("docker", "image", "inspect", "--format", "{{.Id}}", image)
    try:
        stack.run(*command, what="looking for an image")
    except StackError:
        return False
    return True


def base_images(stack: Stack) -> list[str]:
    """Return the images that come from elsewhere: of services, and of the Dockerfile."""
    services = stack.configuration["services"].values()
    built = {service["image"] for service in services if "build" in service}
    dockerfile = (stack.root / "Dockerfile").read_text()
    stages = re.findall(r"^FROM\s+\S+\s+AS\s+(\S+)", dockerfile, re.MULTILINE)
    started_from = set(re.findall(r"^FROM\s+(\S+)", dockerfile, re.MULTILINE)) - set(stages)
    return sorted({service["image"] for service in services} - built | started_from)


def get_base_images(stack: Stack, say: Say) -> None:
    """Pull the base images; if no registry answers, make images of the same names.

    :raises Unmet: if neither can be done.
    """
    refused = []
    for image in missing(stack, base_images(stack)):
        say(f"pulling {image}")
        if not pull(stack, image):
            refused.append(image)
    if refused and not offline.is_debian_root():
        remedy = (
            "Check the network, or bring the images: docker save … | docker load; "
            "on Debian, as root, offline/images.sh makes them."
        )
        raise Unmet(Finding(f"no registry has {', '.join(refused)} for us", remedy))
    if refused:
        offline.run(stack, "images.sh", *refused, say=say)


def pull(stack: Stack, image: str) -> bool:
    """Pull an image; False if no registry has it or none answers within ``REGISTRY_TIMEOUT``."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = stack.popen(["docker", "pull", image], **streams)
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


def registry_has(image: str) -> bool:
    """Whether a registry has an image; False if none answers within ``REGISTRY_TIMEOUT``."""
    command = ["docker", "manifest", "inspect", image]
    try:
        answer = subprocess.run(command, capture_output=True, timeout=REGISTRY_TIMEOUT, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


def build(stack: Stack, say: Say, on_line: Say) -> None:
    """Get the base images and build the stack's own; if all of it is cached, that takes a second."""
    get_base_images(stack, say)
    stack.stream(
        "docker", "compose", "--progress", "plain", "build", what="building the images", on_line=on_line,
        env={**stack.command_variables, **_requirements(stack.settings)},
        next_step=f"The last lines above name the step. See {COMMAND} doctor.",
    )  # fmt: skip


def _requirements(settings: Settings) -> dict[str, str]:
    """Copy the user's requirements and constraints to where a build sees them, in the checkout."""
    source, folder = settings.requirements_file(), settings.root / STATE_FOLDER
    target, constraints = folder / "requirements.txt", folder / CONSTRAINTS
    constraints.unlink(missing_ok=True)
    usable = requirements.as_one_file(source, target)
    if usable == source and not settings.get(REQUIREMENTS_SETTING):
        return {}
    folder.mkdir(exist_ok=True)
    lines = list(requirements.lines(source))
    wanted = [line.text for line in lines if not line.constraints]
    if named := [line.constraints for line in lines if line.constraints]:
        constraints.write_text("".join(map(requirements.text, named)))
        # The Dockerfile puts one beside the other.
        wanted.append(f"{CONSTRAINT}{CONSTRAINTS}")
    target.write_text("".join(f"{line}\n" for line in wanted))
    return {REQUIREMENTS_SETTING: str(target.relative_to(settings.root))}


def build_for_tests(stack: Stack, parts: Iterable[str], say: Say, on_line: Say) -> None:
    """Build an image with pytest and mypy for each part."""
    get_base_images(stack, say)
    bundle = stack.command_variables.get(CA_SETTING) or os.devnull
    for part in parts:
        stack.stream(
            "docker", "build", "--progress", "plain", "--secret", f"id=ca_bundle,src={bundle}",
            "--target", f"{part}-test", "--tag", for_tests(stack, part), ".",
            what=f"building the image for tests in {part}", on_line=on_line,
        )  # fmt: skip


def for_tests(stack: Stack, part: str) -> str:
    """Return the name of a part's image for tests."""
    return f"{stack.settings.image}-{part}-test"
