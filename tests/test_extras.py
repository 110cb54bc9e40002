"""Extras and the packages that they bring."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from convsmith import extras
from convsmith.deploy.format import find_format
from convsmith.deploy.formats import list_formats
from convsmith.extras import extra_of, packages_of

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture(autouse=True)
def _as_pyproject_says(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Know what an installation of this very `pyproject.toml` would."""
    declared = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
    lines = [f'{requirement}; extra == "{extra}"' for extra, listed in declared.items() for requirement in listed]
    monkeypatch.setattr("importlib.metadata.requires", lambda _name: ["numpy>=1.26", *lines])
    extras._requirements.cache_clear()
    yield
    extras._requirements.cache_clear()


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("torch", "train"),
        ("safetensors", "train"),
        ("onnxscript", "export"),
        ("python_multipart", "serve"),
        ("openvino", "openvino"),
        ("mlflow", "mlflow"),
        ("pillow_heif", "heic"),
        ("numpy", None),
        ("convsmith", None),
    ],
)
def test_a_package_is_of_the_first_extra_that_names_it(package: str, extra: str | None) -> None:
    assert extra_of(package) == extra


def test_an_extra_brings_the_packages_of_those_that_it_includes() -> None:
    assert packages_of("litert") == ["litert-torch", "onnx", "onnxscript", "torch"]


@pytest.mark.parametrize("name", list_formats())
def test_the_extra_of_each_format_is_declared(name: str) -> None:
    assert packages_of(find_format(name).extra)
