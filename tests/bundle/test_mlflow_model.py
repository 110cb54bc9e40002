"""What MLflow wraps, without MLflow: bytes and base64 are images, paths only where whoever loads it says so."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.bundle.mlflow_model import ImageModel, _load_pyfunc
from tests.colours import picture


@pytest.fixture(scope="module")
def model(colour_bundle: Path) -> ImageModel:
    return _load_pyfunc(str(colour_bundle))


def labels(answers: list[dict[str, Any]]) -> list[str]:
    return [answer.get("label", "error") for answer in answers]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_image_files(model: ImageModel, kind: Any) -> None:
    assert labels(model.predict([kind(picture("red")), kind(picture("blue"))])) == ["red", "blue"]


@pytest.mark.parametrize("kind", [bytes, bytes.decode], ids=["bytes", "text"])
def test_base64_of_an_image_file_is_taken_as_text_and_as_bytes(model: ImageModel, kind: Any) -> None:
    assert labels(model.predict([kind(base64.b64encode(picture("green")))])) == ["green"]


@pytest.mark.parametrize(
    "given", [picture("green"), base64.b64encode(picture("green")).decode()], ids=["bytes", "text"]
)
def test_one_image_need_not_be_in_a_list(model: ImageModel, given: Any) -> None:
    assert labels(model.predict(given)) == ["green"]


def test_an_array_of_objects_is_taken(model: ImageModel) -> None:
    assert labels(model.predict(np.array([picture("red")] * 2, object))) == ["red", "red"]


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("name", ["a.png", "abcd"])
def test_no_client_learns_whether_a_file_exists(model: ImageModel, tmp_path: Path, there: bool, name: str) -> None:
    """`abcd` is base64 too."""
    path = tmp_path / name
    if there:
        path.write_bytes(picture("red"))
    for given in (str(path), path, str(path).strip("/")):
        (answer,) = model.predict([given])
        assert answer["error"].startswith("cannot read images[0]: it is ")
        assert "no such file" not in answer["error"]


def test_no_client_reads_a_file_of_the_current_folder(
    model: ImageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("abcd").write_bytes(picture("red"))
    assert labels(model.predict(["abcd"])) == ["error"]


def test_paths_are_read_where_whoever_loads_it_says_so(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("red"))
    model = _load_pyfunc(str(colour_bundle), {"paths": True})
    assert labels(model.predict([str(tmp_path / "a.png"), picture("blue")])) == ["red", "blue"]


@pytest.mark.parametrize("config", [None, {}, {"paths": False}, {"paths": "yes"}, {"other": True}])
def test_anything_else_in_the_configuration_reads_no_paths(
    colour_bundle: Path, tmp_path: Path, config: dict[str, Any] | None
) -> None:
    (tmp_path / "a.png").write_bytes(picture("red"))
    assert labels(_load_pyfunc(str(colour_bundle), config).predict([str(tmp_path / "a.png")])) == ["error"]


def test_a_client_cannot_ask_for_paths(model: ImageModel, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("red"))
    assert labels(model.predict([str(tmp_path / "a.png")], {"paths": True})) == ["error"]


def test_a_bad_image_is_an_error_in_its_place(model: ImageModel) -> None:
    assert labels(model.predict([picture("red"), b"bad", 7, None, picture("blue")])) == [
        "red", "error", "error", "error", "blue",
    ]  # fmt: skip
