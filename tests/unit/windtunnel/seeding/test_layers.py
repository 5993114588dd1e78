import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import boto3
import pytest

from windtunnel.seeding import account, functions, layers, watch
from windtunnel.seeding.layers import Layers
from windtunnel.seeding.packaging import MIB
from windtunnel.seeding.validation import SeedingError

from ..stand_ins.package_index import make_wheel
from ..stand_ins.web_server import Server
from .conftest import PATH, made, writes
from .test_packaging import names

API = "/2018-10-31/layers"
ARN = "arn:aws:lambda:ap-southeast-2:000000000000:layer:own"


@pytest.fixture
def layer(root: Path) -> Path:
    """A layer with one module."""
    folder = root / "lambdas/layers/own"
    (folder / "python").mkdir(parents=True)
    (folder / "python/mine.py").write_text("first")
    return folder


@pytest.fixture
def api(lambda_api: Server) -> Server:
    """An AWS with version 2 of the layer, which is none of the folder."""
    answer(lambda_api, content=b"another")
    lambda_api.answers(f"POST {API}/own/versions", {"LayerVersionArn": f"{ARN}:3", "Version": 3}, status=201)
    return lambda_api


def answer(server: Server, content: bytes) -> None:
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    version = {"LayerVersionArn": f"{ARN}:2", "Version": 2}
    server.answers(f"GET {API}/own/versions", {"LayerVersions": [version, {**version, "Version": 1}]})
    server.answers(f"GET {API}/own/versions/2", {**version, "Content": {"CodeSha256": digest}})


def of(root: Path) -> Layers:
    return Layers(made(root), boto3.client("lambda"))


def test_a_layer_is_published_when_its_folder_has_changed_and_not_again(
    api: Server, root: Path, layer: Path
) -> None:
    assert of(root).arn("own") == f"{ARN}:3"
    assert writes(api) == [f"POST {API}/own/versions"]

    answer(api, of(root).content("own"))
    assert of(root).arn("own") == of(root).arn(f"{ARN}:17") == f"{ARN}:2"
    assert writes(api) == [f"POST {API}/own/versions"]


def test_what_a_layer_requires_is_beside_its_own_modules(root: Path, layer: Path) -> None:
    make_wheel(root, "first")
    (layer / "requirements.txt").write_text("first\n")
    (layer / "bin").mkdir()
    (layer / "bin/wrapper").touch(mode=0o755)

    found = names(made(root).layer("own"))

    assert {"python/first.py", "python/mine.py", "bin/wrapper"} <= set(found)


def test_a_function_gets_the_arns_of_its_layers(api: Server, root: Path, folder: Path, layer: Path) -> None:
    other = "arn:aws:lambda:ap-southeast-2:000000000000:layer:published-by-hand:1"
    (folder / "function.json").write_text(json.dumps({"Layers": ["own", other]}))

    assert watch.seed_functions() == {}

    (created,) = [body for request, body in api.requests if request == f"POST {PATH}"]
    assert created["Layers"] == [f"{ARN}:3", other]
    # By the names of the folder, so that only what was saved is a change.
    assert account.read(os.environ)["deployed"]["my_function"]["Layers"] == ["own", other]


def test_a_layer_that_fails_is_named_and_keeps_only_its_functions_from_being_deployed(
    api: Server, root: Path, folder: Path, layer: Path
) -> None:
    make_wheel(root, "first")
    (layer / "requirements.txt").write_text("first\nfrist\n")
    (folder / "function.json").write_text('{"Layers": ["own"]}')

    wrong = watch.seed_functions()

    place = "lambdas/layers/own/requirements.txt, line 2: "
    assert list(wrong) == ["my_function", "layers/own"]
    assert wrong["layers/own"].startswith(place)
    assert wrong["my_function"].startswith(f"lambdas/my_function/function.json, Layers: {place}")
    assert account.read(os.environ)["failures"] == wrong
    assert writes(api) == []

    (layer / "requirements.txt").unlink()
    assert watch.seed_functions() == {}
    assert account.read(os.environ)["failures"] == {}


def test_a_layer_without_a_function_is_published_too(api: Server, root: Path, layer: Path) -> None:
    assert watch.seed_functions() == {}
    assert f"POST {API}/own/versions" in writes(api)


@pytest.mark.bad_input(57, 58, 60)
@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (["nothing"], r"^lambdas/my_function/function\.json, Layers: there is no layer nothing: .*are own"),
        (["own"], "unzipped together with its layers, and Lambda takes 1 MB"),
        (["with space"], "a layer's name is made of letters"),
        (["empty"], r"lambdas/layers/empty has neither python/ nor requirements\.txt"),
    ],
)
def test_what_lambda_would_not_take_is_refused(
    root: Path, folder: Path, layer: Path, monkeypatch: pytest.MonkeyPatch, named: list[str], problem: str
) -> None:
    monkeypatch.setattr(layers, "MAX_UNZIPPED", MIB)
    (layer / "python/data").write_bytes(os.urandom(MIB))
    for name in ("with space", "empty"):
        (root / "lambdas/layers" / name).mkdir()
    (folder / "function.json").write_text(json.dumps({"Layers": named}))
    function = functions.load_function(folder)
    packages = made(root)
    if named == ["nothing"]:
        for name in ("with space", "empty"):
            (root / "lambdas/layers" / name).rmdir()

    with pytest.raises(SeedingError, match=problem):
        Layers(packages).require_fit(function, packages.function(function))


def test_lambda_may_refuse_a_layer(api: Server, root: Path, layer: Path) -> None:
    refused: dict[str, Any] = {"__type": "CodeStorageExceededException", "Message": "full"}
    api.answers(f"POST {API}/own/versions", refused, status=400)

    with pytest.raises(SeedingError, match=r"Lambda does not take the layer own: .*full"):
        of(root).arn("own")
