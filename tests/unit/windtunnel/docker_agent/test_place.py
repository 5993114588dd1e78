"""What the agent says if it has no Docker."""

import os
import socket
from pathlib import Path

import pytest
from docker import APIClient

from windtunnel.docker_agent.place import NoDocker, Place, connected


def test_a_socket_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(NoDocker, match="does not answer"):
        connected(path)


def test_what_is_no_socket_is_said(path: Path) -> None:
    path.touch()
    with pytest.raises(NoDocker, match="set DOCKER_SOCKET"):
        connected(path)


def test_a_socket_of_another_group_is_said_with_its_number(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        monkeypatch.setattr(os, "access", lambda *_: False)
        with pytest.raises(NoDocker, match=f"set DOCKER_GID={path.stat().st_gid}"):
            connected(path)


def test_outside_of_compose_there_is_no_place(api: APIClient) -> None:
    with pytest.raises(NoDocker, match="start it with Compose"):
        Place.of_this_container(api)
