"""The page of AWS services is what its script writes, and the script's list is consistent."""

from windtunnel.dev import aws_services


def test_the_page_is_up_to_date() -> None:
    page = aws_services.PAGE.read_text()

    assert page == aws_services.page(), "run: python -m windtunnel.dev.aws_services"


def test_every_service_has_one_row_in_order() -> None:
    services = [row.service for row in aws_services.ROWS]

    assert services == sorted(set(services))


def test_every_task_of_the_smoke_test_proves_a_module_or_is_a_sensors() -> None:
    tasks = aws_services.tasks() - aws_services.proven()

    assert len(aws_services.proven()) >= 35
    assert all(task.endswith("_sensor") for task in tasks), tasks


def test_nothing_is_proven_against_a_service_that_is_not_there() -> None:
    first = {module: row.service for row in reversed(aws_services.ROWS) for module in row.modules}

    assert not [name for name in aws_services.proven() if aws_services.kind(first[name]) == aws_services.NONE]
