from pathlib import Path

import pytest

from windtunnel.services import lambda_process

PYTHON = Path("/venv/bin/python")


def variables(given: dict[str, str], layers: Path | None = None) -> dict[str, str]:
    return lambda_process.variables(
        code=Path("/code"),
        layers=layers,
        python=PYTHON,
        runtime="python3.13",
        temporary=Path("/scratch"),
        given=given,
    )


def test_the_function_comes_before_its_layers_and_both_before_what_it_sets_itself() -> None:
    found = variables({"PYTHONPATH": "/mine", "A": "1"}, Path("/opt"))

    assert found["PYTHONPATH"] == "/code:/opt/python/lib/python3.13/site-packages:/opt/python:/mine"
    assert found["PATH"].startswith("/venv/bin:")
    assert found["PATH"].endswith(":/opt/bin")
    assert found["LD_LIBRARY_PATH"] == "/code:/code/lib:/opt/lib"
    assert found["A"] == "1"


@pytest.mark.parametrize("proxy", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_functions_own_is_not_for_the_emulator(proxy: str) -> None:
    found = variables({proxy: "http://proxy.test", "NO_PROXY": "mine.test"})

    assert found["NO_PROXY"] == found["no_proxy"] == "mine.test,localhost,127.0.0.1"


def test_without_a_proxy_nothing_is_added() -> None:
    assert not {"NO_PROXY", "no_proxy", "HOME"} & variables({}).keys()
