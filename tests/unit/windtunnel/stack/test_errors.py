import pytest

from windtunnel.stack.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "names", "said"),
    [
        ("demo-dga", ["demo-dag", "other"], "Did you mean demo-dag? There are: demo-dag, other"),
        ("x", [], "There are: none"),
        (
            "dag-119x",
            [f"dag-{number:04}" for number in range(1200)],
            "Did you mean dag-1199? There are 1,200; the nearest are: dag-1199",
        ),
        ("x", [f"dag-{number:04}" for number in range(1200)], "There are 1,200"),
    ],
)
def test_a_name_that_is_not_known_is_answered_in_a_line(name: str, names: list[str], said: str) -> None:
    assert did_you_mean(name, names).startswith(said)
    assert len(did_you_mean(name, names)) < 150
