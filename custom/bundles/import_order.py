"""The DAGs of a release import the modules of that release, and not those of the same name beside Airflow.

Airflow appends the folder of a bundle's DAG files to ``sys.path``, behind ``PYTHONPATH``, and asks no bundle
before it imports a DAG file. So this comes before the one class by which Airflow reads a bundle's files, in
the dag-processor's processes for files and callbacks as in those of tasks.
"""

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

from airflow.dag_processing.dagbag import BundleDagBag

# The file by which the folder of an unpacked release is known.
MARK = ".release"


def install() -> None:
    """Let ``BundleDagBag`` put the folder of a release before all others; once in a process."""
    original = BundleDagBag.__init__
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def make(self: Any, *args: Any, bundle_path: Path | None = None, **kwargs: Any) -> None:
        if bundle_path:
            come_first(Path(bundle_path).parent.resolve())
        original(self, *args, bundle_path=bundle_path, **kwargs)

    BundleDagBag.__init__ = make  # type: ignore[method-assign]


def come_first(release: Path) -> None:
    """Let imports find the modules of a release before others, also before those that are imported already.

    :param release: a folder; nothing is done if it is none of a release.
    """
    if not (release / MARK).exists():
        return
    sys.path[:] = [str(release), *(entry for entry in sys.path if entry != str(release))]
    importlib.invalidate_caches()
    # With their packages, which remember the modules that they have led to.
    packages = {path.stem for path in release.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        del sys.modules[name]
