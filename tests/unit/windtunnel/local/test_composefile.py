from pathlib import Path

import pytest

from windtunnel.stack.errors import StackError

from .conftest import CHOSEN, made


def test_variables_are_filled_in_as_compose_does(root: Path) -> None:
    (root / "docker-compose.yml").write_text(
        """
        services:
          it:
            image: ${IMAGE:-${COMPOSE_PROJECT_NAME}}-airflow
            environment:
              DEFAULT: ${UNSET:-a default}
              EMPTY_TOO: ${EMPTY:-a default}
              SET: $SET and ${SET}
              NOTHING: "[${UNSET}]"
              DOLLARS: $$SET costs $$5
              BACKSLASH: 'two \\\\ one \\'
              FROM_FILE: ${OF_DOTENV}
            ports: ["127.0.0.1:${PORT:-80}:80"]
        """
    )
    (root / ".env").write_text("# OF_COMMENT=1\nOF_DOTENV='from the file'\nSET=hidden\n")

    configuration = made(root, SET="own", EMPTY="").configuration

    service = configuration["services"]["it"]
    assert service["environment"] == {
        "DEFAULT": "a default",
        "EMPTY_TOO": "a default",
        "SET": "own and own",
        "NOTHING": "[]",
        "DOLLARS": "$SET costs $5",
        "BACKSLASH": "two " + 2 * chr(92) + " one " + chr(92),
        "FROM_FILE": "from the file",
    }
    assert service["image"] == "tunnel-airflow"
    assert service["ports"] == ["127.0.0.1:80:80"]


def test_a_variable_that_must_be_set_is_named_with_its_file(root: Path) -> None:
    (root / "docker-compose.yml").write_text("services: {it: {image: '${IMAGE:?set it to a name}'}}")

    with pytest.raises(StackError, match=r"docker-compose\.yml cannot be used: .*IMAGE: set it to a name"):
        _ = made(root).configuration


@pytest.mark.parametrize("text", ["a: [", None])
def test_a_file_that_cannot_be_read_is_named(root: Path, text: str | None) -> None:
    file = root / "broken.yml"
    if text:
        file.write_text(text)

    with pytest.raises(StackError, match=r"broken\.yml cannot be used"):
        _ = made(root, file).configuration


def test_later_files_lie_over_earlier_ones(root: Path) -> None:
    override = "services: {scheduler: {environment: {LEVEL: override, OWN: '1'}}}"
    (root / "docker-compose.override.yml").write_text(override)
    overlay = root / "overlay.yml"
    overlay.write_text("services: {scheduler: {environment: {LEVEL: overlay}, command: [scheduler]}}")

    scheduler = made(root, overlay).configuration["services"]["scheduler"]

    assert scheduler["command"] == ["scheduler"]
    assert scheduler["environment"]["LEVEL"] == "overlay"
    assert scheduler["environment"]["OWN"] == "1"
    assert scheduler["environment"]["POSTGRES_ADDRESS"] == "postgres:5432"


def test_what_may_be_a_list_or_a_mapping_is_the_same(root: Path) -> None:
    overlay = root / "overlay.yml"
    overlay.write_text(
        """
        services:
          scheduler:
            environment: [LEVEL=high=er, OF_THE_SHELL, NOT_SET]
            volumes: [{ type: bind, source: ./more, target: /opt/more }]
          localstack:
            environment: { "YES": true, NUMBER: 1.50, OF_THE_SHELL: }
            depends_on: [init]
        """
    )
    stack = made(root, overlay, OF_THE_SHELL="mine")

    scheduler, localstack = (stack.configuration["services"][name] for name in ("scheduler", "localstack"))
    assert [volume["target"] for volume in scheduler["volumes"]][-2:] == [
        "/run/secrets/windtunnel",
        "/opt/more",
    ]
    assert localstack["depends_on"] == {"init": {"condition": "service_started"}}
    given = stack._definitions(CHOSEN).of("scheduler", "scheduler")["environment"]
    assert (given["LEVEL"], given["OF_THE_SHELL"], given["POSTGRES_ADDRESS"]) == (
        "high=er",
        "mine",
        "127.0.0.1:43",
    )
    given = stack._definitions(CHOSEN).of("localstack", "localstack")["environment"]
    assert (given["YES"], given["NUMBER"], given["OF_THE_SHELL"]) == ("true", "1.5", "mine")
