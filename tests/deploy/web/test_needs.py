"""What the format web needs of a machine, said before any work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.deploy.web.chromium import CHROMIUM_VARIABLE, ChromiumPage
from convsmith.deploy.web.page import page_files
from convsmith.deploy.web.runtime_files import PACKAGE_VARIABLE, runtime_files
from convsmith.errors import ConvsmithError
from convsmith.spec import Preprocess
from tests.colours import bare_manifest, write_colour_bundle
from tests.exports import write_colours


def write_package(folder: Path) -> Path:
    """A package with its facts and empty files."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": "1.2.3", "license": "MIT"}))
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        (folder / "dist" / name).write_bytes(name.encode())
    return folder


def test_the_package_is_found_where_it_is_named_or_where_npm_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_package(tmp_path / "node_modules/onnxruntime-web")
    for named in (package, tmp_path):
        monkeypatch.setenv(PACKAGE_VARIABLE, str(named))
        assert (runtime_files().version, runtime_files().licence) == ("1.2.3", "MIT")
    monkeypatch.delenv(PACKAGE_VARIABLE)
    monkeypatch.chdir(tmp_path)
    assert set(runtime_files().files) == {"onnxruntime-web.js", "onnxruntime-web.wasm"}


def test_without_the_package_the_export_says_how_to_get_it_before_any_work(
    tmp_path: Path, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PACKAGE_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    with pytest.raises(
        ConvsmithError, match=r"needs the npm package onnxruntime-web(.|\n)*npm install onnxruntime-web"
    ):
        cs.export(colour_bundle, "web", tmp_path / "out", tmp_path / "data")


def test_a_package_that_lacks_a_file_is_refused_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_package(tmp_path / "package")
    (package / "dist/ort-wasm-simd-threaded.wasm").unlink()
    monkeypatch.setenv(PACKAGE_VARIABLE, str(package))
    with pytest.raises(ConvsmithError, match=r"not a whole package.*threaded\.wasm is missing"):
        runtime_files()


def test_without_playwright_the_export_names_the_extra(
    tmp_path: Path, colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PACKAGE_VARIABLE, str(write_package(tmp_path / "package")))
    monkeypatch.setitem(sys.modules, "playwright", None)
    (tmp_path / "data").mkdir()
    with pytest.raises(ConvsmithError, match=r"the format web needs the package `playwright`(.|\n)*\[web\]"):
        cs.export(colour_bundle, "web", tmp_path / "out", tmp_path / "data")


def test_without_chromium_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright")
    monkeypatch.setenv(CHROMIUM_VARIABLE, "/no/such/chromium")
    with pytest.raises(ConvsmithError, match=rf"Chromium does not start(.|\n)*{CHROMIUM_VARIABLE}"):
        ChromiumPage({})


def test_a_page_is_not_calibrated_behind_its_back(tmp_path: Path, colour_bundle: Path) -> None:
    files = {"model.onnx": (colour_bundle / "model.onnx").read_bytes(), "index.html": b""}
    bundle = write_colour_bundle(tmp_path / "web", files, format="web")
    with pytest.raises(ConvsmithError, match="has a page, which answers by what it was exported with"):
        cs.calibrate(bundle, write_colours(tmp_path / "data"))


def test_models_of_more_channels_than_a_browser_reads_are_refused() -> None:
    spec = Preprocess(resize=8, crop=8, mean=(0.5,) * 5, std=(0.5,) * 5)
    with pytest.raises(ConvsmithError, match="up to 4 channels, not 5"):
        page_files(bare_manifest(("a",), preprocess=spec), {"model.onnx": b""})
