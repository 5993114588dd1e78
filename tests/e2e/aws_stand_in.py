"""A stand-in for the AWS command line, so that commands of a page run on machines without it.

Operations and options are named by botocore's models, as those of the real one are. Of what that has besides,
only what the pages use: ``--zip-file`` of a layer, ``--query`` with one name, ``--output text``.
"""

import sys
from pathlib import Path
from typing import Any

import boto3
from botocore import xform_name


def main(service: str, operation: str, *words: str) -> None:
    client = boto3.client(service)
    method = operation.replace("-", "_")
    model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[method])
    shapes = model.input_shape.members
    names = {xform_name(name, "-"): name for name in shapes}
    options = _options(words)
    (query,) = options.pop("query", [""])
    assert options.pop("output", ["text"]) == ["text"]
    arguments: dict[str, Any] = {}
    for option, values in options.items():
        if (operation, option) == ("publish-layer-version", "zip-file"):
            arguments["Content"] = {"ZipFile": _value("blob", values)}
        else:
            arguments[names[option]] = _value(shapes[names[option]].type_name, values)
    answer = getattr(client, method)(**arguments)
    if query:
        sys.stdout.write(f"{answer[query]}\n")


def _options(words: tuple[str, ...]) -> dict[str, list[str]]:
    """Divide words into options with their values."""
    options: dict[str, list[str]] = {}
    values: list[str] = []
    for word in words:
        if word.startswith("--"):
            values = options[word.removeprefix("--")] = []
        else:
            values.append(word)
    return options


def _value(kind: str, values: list[str]) -> Any:
    if kind == "list":
        return values
    (value,) = values
    if kind == "blob":
        assert value.startswith("fileb://")
        return Path(value.removeprefix("fileb://")).read_bytes()
    return int(value) if kind in {"integer", "long"} else value


if __name__ == "__main__":
    main(*sys.argv[1:])
