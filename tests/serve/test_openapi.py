"""The whole of what a server says that it takes and gives, an address a line."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convsmith.serve.app import create_app
from tests.serve.running import served

ADDRESSES = """
get /healthz: 200 503
get /metrics: 200 text/plain application/openmetrics-text
get /page/models: 200 503
get /readyz: 200 503
get /v2/health/live: 200 503
get /v2/health/ready: 200 503
get /v2/models/{name} name version: 200 404 503
get /v2/models/{name}/ready name version: 200 404 503
get /v2/models/{name}/versions/{version} name version: 200 404 503
get /v2/models/{name}/versions/{version}/ready name version: 200 404 503
get /v2: 200
post /explain class_id>=0 model version multipart/form-data application/json application/octet-stream image/*: \
200 image/png 400 403 404 408 413 415 500 503
post /predict top>=1 model version multipart/form-data application/json application/octet-stream image/*: \
200 application/json image/png image/jpeg 400 403 404 406 408 413 415 500 503
post /v2/models/{name}/infer name version application/json application/octet-stream: \
200 application/json application/octet-stream 400 404 408 413 415 500 503
post /v2/models/{name}/versions/{version}/infer name version application/json application/octet-stream: \
200 application/json application/octet-stream 400 404 408 413 415 500 503
post /v2/repository/index application/json: 200 400 408 413 415
post /v2/repository/models/{name}/load name application/json: 200 400 403 404 408 413 415
post /v2/repository/models/{name}/unload name application/json: 200 400 403 404 408 413 415
"""
"""But for the header and the statuses that all have, and for JSON where nothing else is answered."""

REQUIRED = {
    "AnsweredTensor": "name datatype shape",
    "BrokenModel": "name version error",
    "ClassAnswer": "class_id label score top meta",
    "ClassArea": "class_id label pixels share",
    "ClassScore": "class_id label score",
    "Distance": "value percentile",
    "ErrorBody": "error why fix",
    "ImageProblem": "error why fix status",
    "Indexed": "name version state reason",
    "InferAnswer": "model_name model_version outputs",
    "LabelScore": "class_id label score",
    "LabelsAnswer": "labels top meta",
    "Live": "live",
    "MaskAnswer": "size classes runs meta",
    "ModelDescription": "name versions platform inputs outputs",
    "ModelReady": "name ready",
    "NamedProblem": "name error",
    "PageModel": "name version architecture labels device colours cam",
    "Place": "runtime device provider",
    "Predictions": "predictions",
    "ProtocolError": "error",
    "Ready": "status models",
    "ReadyModel": "name version runtime device provider",
    "Server": "name version extensions",
    "ServerReady": "ready",
    "Status": "status",
    "TensorOfModel": "name datatype shape",
    "ValidationError": "loc msg type",
}


@pytest.fixture(scope="module")
def document(colour_bundle: Path) -> dict[str, Any]:
    return create_app(colour_bundle).openapi()


def told(document: dict[str, Any]) -> Iterator[str]:
    """Method, address, parameters with their limits, kinds of bodies; and the statuses with their kinds of answers."""
    for path, methods in document["paths"].items():
        for method, it in methods.items():
            taken = [f"{one['name']}{limits_of(one['schema'])}" for one in it.get("parameters", ())]
            assert taken.pop() == "x-request-timeout>0<=86400"
            assert {"422", "504"} <= it["responses"].keys()
            words = [method, path, *taken, *it.get("requestBody", {}).get("content", {})]
            given = [
                " ".join([status, *(kinds if (kinds := list(one["content"])) != ["application/json"] else ())])
                for status, one in sorted(it["responses"].items())
                if status not in ("422", "504")
            ]
            yield f"{' '.join(words)}: {' '.join(given)}"


def limits_of(schema: dict[str, Any]) -> str:
    """The limits of a number."""
    kinds = [schema, *schema.get("anyOf", ())]
    names = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<="}
    return "".join(f"{sign}{kind[name]:g}" for kind in kinds for name, sign in names.items() if name in kind)


def test_each_address_is_described_with_what_it_takes_and_gives(document: dict[str, Any]) -> None:
    assert sorted(told(document)) == ADDRESSES.strip().split("\n")


def test_keys_that_may_lack_are_not_required(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    found = {name: " ".join(it["required"]) for name, it in schemas.items() if "required" in it}
    several = {name: keys for name, keys in found.items() if name.startswith("Named") and name != "NamedProblem"}
    assert several == {name: f"{REQUIRED[name.removeprefix('Named')]} name" for name in several}
    assert len(several) == 3
    assert {name: keys for name, keys in found.items() if name not in several} == REQUIRED


THERE = """[parameters]
"path.name" = "model"
"path.version" = "1"
"query.model" = "model"
"query.version" = "1"
"""
"""For schemathesis, whose own names are those of no model."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "control"),
    [pytest.param("", True, id="of-any-model"), pytest.param(THERE, False, id="of-the-model-that-is-there")],
)
def test_no_request_that_the_description_allows_or_forbids_breaks_the_server(
    colour_bundle: Path, tmp_path: Path, parameters: str, control: bool
) -> None:
    command = shutil.which("schemathesis") or pytest.skip("schemathesis is not installed")
    (tmp_path / "schemathesis.toml").write_text(parameters)
    patient = ("--header", "X-Request-Timeout: 60")  # one that has passed is answered 504, as it is described
    with served(create_app(colour_bundle, control=control)) as (_, url):
        words = ["run", f"{url}/openapi.json", "--checks", "not_a_server_error", "--max-examples", "30", "--seed", "1"]
        result = subprocess.run([command, *words, *patient], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert " generated" in result.stdout
