"""What ``init`` saves of each bundle."""

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing import dagbag
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion
from airflow.dag_processing.bundles.manager import DagBundlesManager

from windtunnel.services import dag_serialization


class Bundle(BaseDagBundle):
    """A bundle with versions; one without a folder cannot be reached."""

    supports_versioning = True
    folder: Path | None = None

    def initialize(self) -> None:
        if self.folder is None:
            raise ConnectionError("S3 does not answer")

    @property
    def path(self) -> Path:
        assert self.folder
        return self.folder

    def refresh(self) -> None:
        raise AssertionError

    def get_current_version(self) -> BundleVersion:
        return BundleVersion("one", {"more": 1})


def test_what_cannot_be_reached_yet_is_left_to_the_dag_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    away, there = Bundle(name="away"), Bundle(name="there")
    there.folder = tmp_path
    saved: list[tuple[Any, ...]] = []
    monkeypatch.setattr(DagBundlesManager, "parse_config", lambda _: None)
    monkeypatch.setattr(DagBundlesManager, "sync_bundles_to_db", lambda _: None)
    monkeypatch.setattr(DagBundlesManager, "get_all_dag_bundles", lambda _: [away, there])
    monkeypatch.setattr(dagbag, "sync_bag_to_db", lambda bag, name, **more: saved.append((name, more)))

    dag_serialization.save_each()

    assert saved == [("there", {"bundle_version": "one", "version_data": {"more": 1}})]
    assert "away is read later, by the dag-processor: S3 does not answer" in capsys.readouterr().err
