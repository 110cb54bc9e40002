"""The files of a web export that are made of what its manifest says."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Template

from convsmith.bundle.format import MODEL, PAGE, Manifest
from convsmith.deploy.format import Files
from convsmith.errors import ConvsmithError
from convsmith.pages import PARTS, joined

MODULES = Path(__file__).parent
"""The folder of the page's modules."""

OFFLINE = "offline.js"
_KEYS = {"task", "labels", "preprocess", "colours", "thresholds", "calibration"}  # of the manifest that answers need
_PART = 3 * 2**20  # bytes, a multiple of three: parts of base64 that are decoded by themselves
_LARGEST = 256 * 2**20  # of a model: a script may have half a gigabyte


def page_files(manifest: Manifest, files: Files) -> Files:
    """The page of a model, with its script, its style, and all that it loads once more for where it can fetch nothing.

    Args:
        manifest: what answers are made by.
        files: the model and onnxruntime-web.

    Raises:
        ConvsmithError: the model has other images than a browser reads, or is too large for one.
    """
    _check(manifest, files)
    return {
        PAGE: _page(manifest, len(files[MODEL])).encode(),
        "page.js": joined(MODULES / "page.js").encode(),
        "style.css": (PARTS / "style.css").read_bytes(),
        OFFLINE: "".join(_offline(files)).encode(),
    }


def _check(manifest: Manifest, files: Files) -> None:
    channels = manifest.preprocess.bands.channels
    if channels > 4:
        raise ConvsmithError(f"web takes images of up to 4 channels, not {channels}", "browsers read no others")
    if len(files[MODEL]) > _LARGEST:
        raise ConvsmithError(
            f"the model is too large for the format web, with {len(files[MODEL]) / 1e6:.0f} MB",
            f"a browser takes {_LARGEST / 1e6:.0f} MB",
            "Quantize it first, with `convsmith quantize`, or train a smaller one.",
        )


def _page(manifest: Manifest, size: int) -> str:
    name, count = str(manifest.model.get("name")), len(manifest.labels)
    facts = manifest.model_dump(mode="json", include=_KEYS)
    shown = {
        "title": escape(f"{name}: {manifest.task} of {count} classes"),
        "megabytes": f"{size / 1e6:.1f}",
        "count": str(count),
        "classes": escape(", ".join(manifest.labels)),
        "about": escape(f"Made with convsmith {manifest.created_with.get('convsmith', '')}; run by onnxruntime-web."),
        "manifest": json.dumps(facts).replace("<", "\\u003c"),  # so that no label ends the element
    }
    return Template((MODULES / "index.html").read_text("utf-8")).substitute(shown)


def _offline(files: Files) -> Iterator[str]:
    """A script that holds files in base64, by name: where a page is opened from a disk, browsers fetch nothing."""
    yield "globalThis.offline = {\n"
    for name, content in files.items():
        yield f"{json.dumps(name)}: [\n"
        for at in range(0, len(content), _PART):
            yield f'"{base64.b64encode(content[at : at + _PART]).decode()}",\n'
        yield "],\n"
    yield "};\n"
