"""Which modules the DAGs of a release import, asked in processes of their own: the order stays for good."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DAG = """
import {package}.mine
from {package} import mine
from airflow.sdk import DAG
dag = DAG("a", schedule=None, description={package}.mine.WHO + " " + mine.WHO + " " + helper.WHO)
"""

# Airflow's own way to a bundle's files, after the stack's modules were imported, as a scheduler has them.
ASK = """
import json, sys
from pathlib import Path
import {package}.mine, {package}.both
import custom.bundles.s3_release_bundle
from airflow.dag_processing.dagbag import BundleDagBag
found = []
for path in map(Path, sys.argv[1:]):
    bag = BundleDagBag(path, bundle_path=path, bundle_name="releases", safe_mode=False)
    found.append([bag.import_errors, [dag.description for dag in bag.dags.values()]])
import {package}.only
print(json.dumps([found, {package}.only.WHO, sys.path[0]]))
"""


def ask(package: str, stack: Path, *paths: Path) -> Any:
    path = [str(stack), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    root = str(Path(__file__).parents[4])
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(package=package), *map(str, paths)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*path, root])},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def write(folder: Path, **modules: str) -> None:
    for name, who in modules.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"WHO = {who!r}\n")


@pytest.mark.parametrize("marked", [True, False])
def test_modules_of_a_release_come_before_those_of_the_stack(tmp_path: Path, marked: bool) -> None:
    stack, release = tmp_path / "stack", tmp_path / "release"
    write(stack, own__mine="stack", own__both="stack", own__only="stack")
    write(release, own__mine="release", own__both="release", dags__helper="release")
    (release / "dags" / "a.py").write_text("import helper" + DAG.format(package="own"))
    if marked:
        (release / ".release").touch()

    found, only, first = ask("own", stack, release / "dags")

    who = "release" if marked else "stack"
    assert found == [[{}, [f"{who} {who} release"]]]
    # What the release does not have is the stack's.
    assert only == "stack"
    assert (first == str(release)) is marked


def test_a_link_leads_to_the_release_of_that_moment(tmp_path: Path) -> None:
    stack, release = tmp_path / "stack", tmp_path / "versions" / "one"
    write(stack, own__mine="stack", own__both="stack", own__only="stack")
    write(release, own__mine="release", dags__helper="release")
    (release / "dags" / "a.py").write_text("import helper" + DAG.format(package="own"))
    (release / ".release").touch()
    (tmp_path / "current").symlink_to(release)

    found, _, first = ask("own", stack, tmp_path / "current" / "dags")

    assert found == [[{}, ["release release release"]]]
    assert first == str(release)
