import io
import os
import zipfile
from pathlib import Path

import pytest

from windtunnel.seeding import packaging
from windtunnel.seeding.validation import SeedingError


def test_a_package_holds_function_and_library_and_nothing_compiled(root: Path, folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__/x.pyc").touch()

    package = packaging.package([folder, root / "airflow_relay"])

    names = zipfile.ZipFile(io.BytesIO(package)).namelist()
    assert names == ["airflow_relay/__init__.py", "lambda_function.py"]


def test_equal_files_make_equal_packages(folder: Path) -> None:
    first = packaging.package([folder])
    os.utime(folder / "lambda_function.py", (0, 0))

    assert packaging.package([folder]) == first


def names(package: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(package)).namelist()


def test_what_links_lead_to_is_packed(root: Path, folder: Path) -> None:
    shared = root / "lambdas/_shared"
    (shared / "deep").mkdir(parents=True)
    (shared / "deep/one.py").write_text("one")
    (folder / "shared").symlink_to("../_shared")
    (folder / "alias.py").symlink_to("lambda_function.py")

    assert names(packaging.package([folder])) == ["alias.py", "lambda_function.py", "shared/deep/one.py"]


def test_a_folder_may_be_a_link_itself(root: Path, folder: Path) -> None:
    link = root / "lambdas/linked"
    link.symlink_to("my_function")

    assert names(packaging.package([link])) == ["lambda_function.py"]


@pytest.mark.bad_input(59)
@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("../..", r"lambdas/my_function/link is a link to \.\./\.\., which is outside of lambdas/"),
        ("/etc/passwd", "is outside of lambdas/: move that into lambdas/"),
        ("../nothing", "which is not there"),
        (".", "is a link to a folder around it"),
    ],
)
def test_links_that_cannot_be_followed_are_refused(folder: Path, target: str, problem: str) -> None:
    (folder / "link").symlink_to(target)

    with pytest.raises(SeedingError, match=problem):
        packaging.package([folder])


@pytest.mark.bad_input(60)
@pytest.mark.parametrize(
    ("limit", "problem"),
    [("MAX_ZIPPED", "is 2 MB zipped, and Lambda takes 1 MB"), ("MAX_UNZIPPED", "is 2 MB unzipped")],
)
def test_a_package_over_lambdas_limits_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, limit: str, problem: str
) -> None:
    (folder / "data").write_bytes(os.urandom(2 * packaging.MIB))
    monkeypatch.setattr(packaging, limit, packaging.MIB)

    with pytest.raises(SeedingError, match=problem):
        packaging.package([folder])
