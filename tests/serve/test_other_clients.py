"""tritonclient and KServe's client, unchanged, ask a server; each lives in an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from convsmith.bundle.predictor import load
from convsmith.serve.app import create_app
from tests.colours import picture
from tests.serve.running import PATIENCE, served
from tests.serve.test_grpc import served_by_grpc


def answers_to(package: str, *arguments: str) -> dict[str, Any]:
    """The things that a client found, which ran in another environment."""
    variable, client = f"CONVSMITH_{package.upper()}_PYTHON", f"{package}_client.py"
    if not (python := os.environ.get(variable)):
        pytest.skip(f"{variable} does not name the Python of an environment with that client")
    command = [python, str(Path(__file__).with_name(client)), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def assert_all_is_answered(found: dict[str, Any], bundle: Path) -> None:
    pixels = np.zeros((2, 3, 8, 8), np.uint8)
    pixels[1, 2] = 200
    assert found["health"] == [True, True, True]
    assert (found["no_model"], found["server"], found["index"], found["id"]) == (False, "convsmith", "READY", "7")
    assert found["inputs"] == [["images", "UINT8", [-1, 3, 8, 8]], ["files", "BYTES", [-1]]]
    assert found["labels"] == ["blue", "blue"]
    assert np.allclose(found["logits"], load(bundle).logits(pixels))
    assert (found["class_id"], found["best"], found["not_wanted"]) == ([0, 2], [["0", "red"], ["2", "blue"]], True)
    assert {name for name, _ in found["errors"]} == {"InferenceServerException"}
    assert "there is no model `none`" in found["errors"][0][1]
    assert "the model takes UINT8 [-1, 3, 8, 8]" in found["errors"][1][1]
    assert (found["unloaded"], found["loaded"]) == (False, True)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(picture("blue"))
    return tmp_path / "a.png"


def test_tritonclient_speaks_http_with_it(colour_bundle: Path, image: Path) -> None:
    with served(create_app(colour_bundle, control=True)) as (_, url):
        found = answers_to("triton", "http", urlsplit(url).netloc, str(image))
    assert_all_is_answered(found, colour_bundle)


def test_tritonclient_speaks_grpc_with_it(colour_bundle: Path, image: Path) -> None:
    with served_by_grpc(colour_bundle, control=True) as address:
        found = answers_to("triton", "grpc", address, str(image))
    assert_all_is_answered(found, colour_bundle)


def test_the_client_of_kserve_speaks_both_protocols_with_it(colour_bundle: Path, image: Path) -> None:
    app = create_app(colour_bundle, grpc="127.0.0.1:0")
    with served(app) as (_, url):
        found = answers_to("kserve", url, f"127.0.0.1:{app.state.service.grpc_port}", str(image))
    assert found["http"] == found["grpc"] == [True, True, True]
    assert np.allclose(found["logits"], [[[0, 0, 20]]] * 4)
    assert found["labels"] == ["blue", "blue"]
