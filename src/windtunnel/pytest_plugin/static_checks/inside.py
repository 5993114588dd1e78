"""The part of the static checks that runs in Airflow's Python and in that of the functions.

Run as a script, with ``-P`` so that what lies beside it cannot be imported. ``… dags FOLDER`` answers with
JSON in the last line of standard output; ``… function FOLDER HANDLER SECONDS`` ends with a traceback and exit
code 1 if the handler is not there.
"""

import faulthandler
import importlib
import json
import logging
import os
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any


def parse_all(folder: str) -> dict[str, dict[str, Any]]:
    """Return what comes of each file that Airflow takes for a DAG file, by path."""
    # As in the dag-processor: Airflow itself, and what files import of it, is imported before any is parsed.
    from airflow.configuration import conf
    from airflow.dag_processing import processor  # noqa: F401
    from airflow.utils.file import iter_airflow_imports

    from windtunnel.services import dag_files

    limit = conf.getint("dag_processor", "dag_file_processor_timeout")
    files = dag_files.listed(folder)
    for file in files:
        for module in iter_airflow_imports(file):
            # If that fails, the file says so itself.
            with suppress(Exception):
                importlib.import_module(module)
    return {file: _in_fork(file, folder, limit) for file in files}


def _in_fork(file: str, folder: str, limit: int) -> dict[str, Any]:
    """Parse a file in a process of its own, as the dag-processor does; the limit is in seconds."""
    with tempfile.TemporaryFile("w+") as answer, tempfile.TemporaryFile("w+", errors="replace") as output:
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            try:
                faulthandler.dump_traceback_later(limit, exit=True)
                json.dump(_parse(file, folder), answer)
                answer.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        answer.seek(0)
        if text := answer.read():
            return dict(json.loads(text))
        output.seek(0)
        return {"ended": code, "output": output.read()}


def _parse(file: str, folder: str) -> dict[str, Any]:
    from airflow.dag_processing.processor import DagFileParseRequest, _parse_file

    from windtunnel.services import dag_files

    # The bundle of an Airflow that configures none, by airflow.cfg's reference.
    request = DagFileParseRequest(file=file, bundle_path=Path(folder), bundle_name="dags-folder")
    began = time.perf_counter()
    # What the dag-processor itself does: import, validation, serialization.
    result = _parse_file(request, logging.getLogger(__name__))
    return {
        "seconds": time.perf_counter() - began,
        "errors": list((result.import_errors or {}).values()),
        "dag_ids": sorted(dag.dag_id for dag in result.serialized_dags),
        "makes_dags": dag_files.makes_dags(Path(file)),
        "imports": _imported_from(folder, file),
    }


def _imported_from(folder: str, file: str) -> list[str]:
    """Return the files of a folder that another of its files has imported."""
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    # The folder is below AIRFLOW_HOME, too.
    found = {os.path.realpath(other) for other in files if other} - {os.path.realpath(file)}
    return sorted(other for other in found if other.startswith(folder + os.sep))


def seed(config: Path) -> None:
    """Let DAG files read the variables and connections that ``windtunnel.services.init`` would import.

    :param config: the folder with the files of both.
    """
    for kind, prefix in (("variables", "AIRFLOW_VAR_"), ("connections", "AIRFLOW_CONN_")):
        path = config / f"{kind}.json"
        content = json.loads(path.read_text()) if path.exists() else {}
        for name, value in content.items():
            # A variable may have a description, as `airflow variables import` takes it.
            inner = value["value"] if isinstance(value, dict) and "value" in value else value
            text = inner if isinstance(inner, str) else json.dumps(inner)
            # The environment comes first, as it does for Airflow.
            os.environ.setdefault(f"{prefix}{name.upper()}", text)


def import_function(folder: str, handler: str, limit: str) -> None:
    """Import a function's module and find its handler, as AWS's runtime does; exit with 0, or with 1.

    :param limit: seconds, after which the process ends with a traceback of where it is.
    """
    os.chdir(folder)
    faulthandler.dump_traceback_later(float(limit), exit=True)
    module, _, name = handler.rpartition(".")
    try:
        getattr(importlib.import_module(module.replace("/", ".")), name)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    # It does not wait for threads that the module has started.
    os._exit(0)


def main(question: str, *arguments: str) -> None:
    """Answer the question of the command line."""
    if question == "dags":
        seed(Path(os.environ["AIRFLOW_HOME"], "config"))
        print(json.dumps(parse_all(*arguments)))  # noqa: T201
    else:
        import_function(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
