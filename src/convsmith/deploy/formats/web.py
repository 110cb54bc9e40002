"""A folder of static files: a page that answers in the browser, with onnxruntime-web, on any host or opened offline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convsmith.bundle.format import MODEL, Manifest
from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.deploy.web.chromium import ChromiumPage
from convsmith.deploy.web.page import page_files
from convsmith.deploy.web.prove_page import prove_page
from convsmith.deploy.web.runtime import WebRuntime
from convsmith.deploy.web.runtime_files import runtime_files


def _require() -> None:
    """Raise a ConvsmithError unless onnxruntime-web's files are here, and a Chromium that starts."""
    runtime_files()
    ChromiumPage({"index.html": b"<!doctype html>"}).close()


def _export(source: Exportable) -> Files:
    return {MODEL: source.onnx, **runtime_files().files}


def _open(files: Files, threads: int | None) -> Runtime:  # noqa: ARG001  # one: more need a host that isolates pages
    return WebRuntime(files)


def _prove(files: Files, manifest: Manifest, images: Iterable[bytes]) -> dict[str, Any]:
    runtime = runtime_files()
    return {
        "onnxruntime_web": runtime.version,
        "onnxruntime_web_licence": runtime.licence,
        **prove_page(files, manifest, images),
    }


FORMAT = Format(
    "a page that answers in the browser, without a server",
    _export,
    _open,
    extra="web",
    other_ties=True,  # of floats between integer layers; where all is integers, nothing differs
    require=_require,
    add=page_files,
    prove=_prove,
    embeddings=False,
)
