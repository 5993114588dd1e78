"""moto's records of a service outlive LocalStack, and belong to the new one's backend."""

from pathlib import Path
from typing import Any

import pytest
from localstack import config
from moto.backends import get_backend

from windtunnel_emulator.batch import definitions
from windtunnel_emulator.containers import records

ACCOUNT, REGION = "100000000001", "ap-southeast-2"


@pytest.fixture
def _data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config.dirs, "data", str(tmp_path))


def backend() -> Any:
    return get_backend("batch")[ACCOUNT][REGION]


def keep_one(name: str) -> None:
    """Make a definition, as an operation of the service does."""

    def register(context: object, request: object) -> None:
        container = {"image": "any", "vcpus": 1, "memory": 64}
        asked = {"jobDefinitionName": name, "type": "container", "containerProperties": container}
        definitions.register(backend(), {**asked, "tags": {"a": "b"}})

    records.keeping("batch", "RegisterJobDefinition", register)(None, {})  # type: ignore[arg-type]


@pytest.mark.usefixtures("_data")
def test_records_come_back_and_refer_to_the_backend_that_is_there() -> None:
    keep_one("report")
    backend().reset()
    assert backend().get_job_definition("report") is None

    records.restore("batch")

    found = backend().get_job_definition("report")
    assert found.backend is backend()
    assert found.describe()["tags"] == {"a": "b"}


@pytest.mark.usefixtures("_data")
def test_a_question_saves_nothing(tmp_path: Path) -> None:
    handler = records.keeping("batch", "DescribeJobs", lambda context, request: {})

    assert handler(None, {}) == {}  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("_data")
def test_damaged_records_are_set_aside_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keep_one("report")
    (path,) = (tmp_path / "containers").iterdir()
    path.write_bytes(b"no pickle")

    records.restore("batch")

    assert f"{path} is damaged" in caplog.text
    assert path.with_suffix(".damaged").exists()
