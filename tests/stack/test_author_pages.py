"""What the pages for authors say of permissions, arguments and errors is what the code has."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from windtunnel.stack.settings import ROOT

DAG_PAGE = ROOT / "docs" / "dag-authors.md"
FUNCTION_PAGE = ROOT / "docs" / "function-authors.md"
SERVICES = ("lambda", "logs")
# Each page, and the code whose calls its policy allows.
SIDES = [(DAG_PAGE, ROOT / "custom"), (FUNCTION_PAGE, ROOT / "lambdas" / "airflow_relay")]
# Lambda's actions whose name is not the operation's.
OTHER_NAMES = {"lambda:Invoke": "lambda:InvokeFunction"}

ARN = re.compile(
    r"arn:aws:(?:lambda:ap-southeast-2:123456789012:function:my-function(?::\*)?"
    r"|logs:ap-southeast-2:123456789012:log-group:(?:/airflow|/aws)/lambda/my-function:\*)"
)


def statements(page: Path) -> list[dict[str, Any]]:
    (policy,) = re.findall(r"^```json\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    found: list[dict[str, Any]] = json.loads(policy)["Statement"]
    return found


def values(statement: dict[str, Any], key: str) -> list[str]:
    """What may be one text or a list of them."""
    value = statement[key]
    return value if isinstance(value, list) else [value]


def actions_of_methods() -> dict[str, str]:
    """IAM's action for each method of a boto3 client."""
    actions = {}
    for service in SERVICES:
        model = ServiceModel(Loader().load_service_model(service, "service-2"))
        for operation in model.operation_names:
            action = f"{service}:{operation}"
            actions[xform_name(operation)] = OTHER_NAMES.get(action, action)
    return actions


def names_used(folder: Path) -> Iterator[str]:
    """Attributes, and texts such as a paginator's name."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                yield node.attr
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def rows(page: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without the marks of code."""
    _, found, below = page.read_text().partition(f"{heading}\n")
    assert found, heading
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table, heading
    return [
        [cell.strip().strip("`") for cell in line.strip().strip("|").split(" | ")]
        for line in table[0].splitlines()[2:]
    ]


def keyword_arguments(path: Path, function: str) -> dict[str, str | None]:
    """Names and defaults, as they are written; None for an argument that must be given."""
    (found,) = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == function and not node.decorator_list
    ]
    defaults = [ast.unparse(default) if default else None for default in found.args.kw_defaults]
    return dict(zip([argument.arg for argument in found.args.kwonlyargs], defaults, strict=True))


def constants(path: Path) -> dict[str, Any]:
    """The numbers and texts that a module gives names to."""
    return {
        ast.unparse(node.targets[0]): node.value.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }


@pytest.mark.parametrize(("page", "folder"), SIDES, ids=["airflow", "function"])
def test_a_policy_allows_what_its_side_calls_and_nothing_else(page: Path, folder: Path) -> None:
    actions = actions_of_methods()
    called = {actions[name] for name in names_used(folder) if name in actions}

    assert called
    assert {action for statement in statements(page) for action in values(statement, "Action")} == called


@pytest.mark.parametrize("page", [DAG_PAGE, FUNCTION_PAGE], ids=["airflow", "function"])
def test_a_policy_names_the_resources_of_one_function(page: Path) -> None:
    for statement in statements(page):
        (service,) = {action.partition(":")[0] for action in values(statement, "Action")}
        for resource in values(statement, "Resource"):
            assert ARN.fullmatch(resource), resource
            assert resource.split(":")[2] == service, statement


@pytest.mark.parametrize("page", [DAG_PAGE, FUNCTION_PAGE], ids=["airflow", "function"])
def test_what_happens_without_a_permission_is_said_of_each(page: Path) -> None:
    heading = "Permissions of the Airflow side" if page == DAG_PAGE else "Permissions of the function's side"
    listed = [row[0].partition("`")[0] for row in rows(page, heading)]

    actions = [action for statement in statements(page) for action in values(statement, "Action")]
    assert sorted(listed) == sorted(actions)


def test_the_operators_arguments() -> None:
    path = ROOT / "custom" / "operators" / "lambda_function.py"
    named = constants(path)

    listed = {name: default for name, default, *_ in rows(DAG_PAGE, "## Arguments")}
    required = {name for name, default in listed.items() if default == "required"}
    arguments = keyword_arguments(path, "__init__")
    assert required == {name for name, default in arguments.items() if default is None}
    assert {name: ast.literal_eval(listed[name]) for name in listed.keys() - required} == {
        name: named[default] if default in named else ast.literal_eval(default)
        for name, default in arguments.items()
        if default is not None
    }


def test_the_decorators_arguments() -> None:
    folder = ROOT / "lambdas" / "airflow_relay"
    named = constants(folder / "shipper.py")

    listed = {name: default for name, default, *_ in rows(FUNCTION_PAGE, "function authors")}
    arguments = keyword_arguments(folder / "decorator.py", "relay")
    assert listed == {name: str(named.get(str(default), default)) for name, default in arguments.items()}


def test_each_error_is_told() -> None:
    module = ast.parse((ROOT / "custom" / "errors.py").read_text())
    errors = {node.name for node in module.body if isinstance(node, ast.ClassDef)}
    listed = re.findall(r"^\| `(\w+)`(?: itself)? \|", DAG_PAGE.read_text(), re.MULTILINE)

    assert errors <= set(listed)
    assert {name for name in listed if name.startswith(("Lambda", "Relay", "Invalid"))} <= errors


def test_links_lead_somewhere() -> None:
    """Files, and headings of the two pages."""
    for page in (DAG_PAGE, FUNCTION_PAGE):
        for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.is_file(), link
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else [""]
            assert anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, link
