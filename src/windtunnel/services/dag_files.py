"""Which files of the DAGs folder are DAG files, and which of these make a DAG that Airflow does not get.

This runs on the user's machine, too. Only ``listed`` imports Airflow, which takes 2 s.
"""

import ast
from collections.abc import Collection, Iterator
from pathlib import Path

# The calls or decorators of airflow.sdk by which a file makes a DAG.
MAKERS = ("DAG", "dag")

REMEDY = (
    "give it a name at the top of the file, or call the function that makes it. "
    "If the file is to have none, name it in .airflowignore."
)


def listed(folder: str) -> list[str]:
    """Return the files that Airflow reads by its settings and each ``.airflowignore``."""
    from airflow.configuration import conf
    from airflow.dag_processing.importers import get_importer_registry

    safe_mode = conf.getboolean("core", "dag_discovery_safe_mode")
    return sorted(get_importer_registry().list_dag_files(folder, safe_mode=safe_mode))


def suspects(folder: Path, known: Collection[str]) -> list[str]:
    """Return the files, relative to the folder, that make a DAG of which nothing is known.

    Airflow may not read all of these files. A file that another one imports is a helper.

    :param known: the files of which Airflow knows a DAG or an import error.
    """
    files = sorted(folder.rglob("*.py"))
    imported = {module for path in files for module in _imports(path, folder)}
    # The folder's parent is on the path, too.
    imported |= {module.removeprefix("dags.") for module in imported}
    names = [str(path.relative_to(folder)) for path in files]
    own = [name for name in names if name.removesuffix(".py").replace("/", ".") not in imported]
    return [name for name in own if name not in known and makes_dags(folder / name)]


def makes_dags(path: Path) -> bool:
    """Return whether a file calls ``DAG`` or ``dag``, or decorates a function with it.

    What stands below an ``if`` at the top of the file does not count: a DAG may be for stacks with a certain
    executor alone, and Airflow refuses it elsewhere.
    """
    statements = [statement for statement in _statements(path) if not isinstance(statement, ast.If)]
    nodes = [node for statement in statements for node in ast.walk(statement)]
    used = [node.func for node in nodes if isinstance(node, ast.Call)]
    used += [name for node in nodes if isinstance(node, ast.FunctionDef) for name in node.decorator_list]
    return any(getattr(name, "id", getattr(name, "attr", None)) in MAKERS for name in used)


def _imports(path: Path, folder: Path) -> Iterator[str]:
    package = path.relative_to(folder).parent.parts
    for node in (node for statement in _statements(path) for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the file's own package, each further one a package around it.
            around = package[: len(package) + 1 - node.level] if node.level else ()
            module = ".".join((*around, *filter(None, [node.module])))
            yield module
            yield from (f"{module}.{alias.name}".lstrip(".") for alias in node.names)


def _statements(path: Path) -> list[ast.stmt]:
    try:
        return ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError):  # a zip, for example
        return []
