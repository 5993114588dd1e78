import io
import os
import re
import zipfile
from pathlib import Path

import pytest

from windtunnel.release import packing
from windtunnel.seeding.validation import SeedingError
from windtunnel.stack.errors import Unmet
from windtunnel.stack.settings import ROOT, Settings


@pytest.fixture
def settings(checkout: Path) -> Settings:
    (checkout / "dags" / "a.py").write_text("a = 1\n")
    (checkout / "dags" / ".airflowignore").write_text("helper\n")
    (checkout / "custom" / "hooks").mkdir()
    (checkout / "custom" / "hooks" / "mine.py").write_text("b = 2\n")
    (checkout / "requirements.txt").write_text("one==1\n")
    return Settings.of("tunnel", root=checkout)


def names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.namelist()


def test_a_release_holds_what_the_stack_would_mount(settings: Settings) -> None:
    content = packing.pack(settings)

    assert names(content) == ["dags/.airflowignore", "dags/a.py", "custom/hooks/mine.py", "requirements.txt"]
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("requirements.txt") == b"one==1\n"


def test_the_version_is_the_content_and_not_the_time(settings: Settings, checkout: Path) -> None:
    first = packing.version_of(packing.pack(settings))
    (checkout / "dags" / "__pycache__").mkdir()
    (checkout / "dags" / "__pycache__" / "a.pyc").touch()
    os.utime(checkout / "dags" / "a.py", (1, 1))
    assert packing.version_of(packing.pack(settings)) == first

    (checkout / "custom" / "hooks" / "mine.py").write_text("b = 3\n")

    assert packing.version_of(packing.pack(settings)) != first


def test_the_bundle_takes_versions_and_names_as_they_are_here() -> None:
    """It runs on AWS, too, without this package."""
    source = (ROOT / "custom" / "bundles" / "s3_release_bundle.py").read_text()
    (version,) = re.findall(r'^VERSION = re.compile\(r"(.*)"\)$', source, re.MULTILINE)

    assert re.fullmatch(version, packing.version_of(b""))
    assert 'CURRENT = "current"' in source
    assert 'f"{version}.zip"' in source
    assert 'DAGS = "dags"' in source


@pytest.mark.bad_input(83)
@pytest.mark.parametrize("left", ["", "README.md"])
def test_a_release_without_a_dag_file_is_refused(settings: Settings, checkout: Path, left: str) -> None:
    for path in (checkout / "dags").iterdir():
        path.unlink()
    if left:
        (checkout / "dags" / left).touch()

    with pytest.raises(Unmet, match="there is no DAG file in") as caught:
        packing.pack(settings)

    assert "Name the folder that dags/ is in" in caught.value.findings[0].remedy


@pytest.mark.bad_input(84)
def test_what_hides_the_package_custom_is_refused(settings: Settings, checkout: Path) -> None:
    (checkout / "custom" / "__init__.py").touch()

    with pytest.raises(Unmet, match="hides Windtunnel's own package"):
        packing.pack(settings)


@pytest.mark.bad_input(84)
def test_a_link_that_leads_out_of_its_folder_is_refused(settings: Settings, checkout: Path) -> None:
    (checkout / "secret").write_text("key")
    (checkout / "dags" / "link.py").symlink_to("../secret")

    with pytest.raises(SeedingError, match=r"link\.py is a link to .* outside of dags/"):
        packing.pack(settings)
