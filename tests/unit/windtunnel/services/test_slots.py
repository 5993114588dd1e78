from pathlib import Path

import pytest

from windtunnel.services.slots import slots

GIB = 2**30


@pytest.mark.parametrize(("memory", "expected"), [(2, 4), (4, 4), (9, 9), (16, 16), (64, 16)])
def test_without_a_setting_memory_decides(memory: int, expected: int) -> None:
    assert slots({"PARALLELISM": ""}, memory * GIB + GIB // 2) == expected


def test_this_machine_has_memory() -> None:
    assert 4 <= slots({}) <= 16


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "airflow.cfg").write_text("[core]\nparallelism = 7\nfernet_key = 100%\n")
    return str(tmp_path / "airflow.cfg")


def test_the_setting_comes_before_airflows_own(config: str) -> None:
    own = {"AIRFLOW_CONFIG": config}

    assert slots(own) == 7
    assert slots(own | {"AIRFLOW__CORE__PARALLELISM": "6"}) == 6
    assert slots(own | {"AIRFLOW__CORE__PARALLELISM": "6", "PARALLELISM": "5"}) == 5


@pytest.mark.bad_input(67)
@pytest.mark.parametrize("value", ["0", "-1", "four", "1.5", "٤"])
def test_what_is_no_number_of_slots_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"PARALLELISM is .*whole number from 1 up"):
        slots({"PARALLELISM": value})
