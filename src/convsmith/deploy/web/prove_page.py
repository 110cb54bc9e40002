"""Proof of a page, in Chromium: that it sees in image files, and says of them, what Python does."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.format import MODEL, Manifest
from convsmith.bundle.images.bands import decode
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.format import Files
from convsmith.deploy.web.chromium import ChromiumPage
from convsmith.deploy.web.runtime import run_in, split
from convsmith.errors import ConvsmithError

_LARGEST_DIFFERENCE = 1e-5  # of float32 logits, relative to the largest one, 1 at least
_ANSWER = """async (given) => {
  const { input, decisions } = await convsmith.answerTo(new Blob([given]));
  return new Blob([JSON.stringify(decisions), "\\n", input.pixels]);
}"""
_HEADS = {"png": b"\x89PNG", "jpeg": b"\xff\xd8"}


@dataclass
class _Kind:
    """Differences between the page and Python over files of one kind."""

    images: int = 0
    worst: int = 0
    means: list[float] = field(default_factory=list)
    agreeing: int = 0
    decisions: int = 0

    def figures(self) -> dict[str, float]:
        return {
            "images": self.images,
            "max_abs_diff": self.worst,
            "mean_abs_diff": float(np.mean(self.means)),
            "agreement": self.agreeing / self.decisions,
        }


def prove_page(files: Files, manifest: Manifest, images: Iterable[bytes]) -> dict[str, Any]:
    """Let the page of `files` and Python answer the same image files.

    Args:
        files: all of the export.
        manifest: what it is.
        images: image files; each is shown as a PNG and, where it has one or three channels, as a JPEG.

    Returns:
        `browser`: its version; `logits_max_abs_diff`: beside Python's onnxruntime, from equal pixels; `png` and `jpeg`:
        of the model's inputs, in 0 to 255, their largest and mean difference, and the share of equal answers.

    Raises:
        ConvsmithError: the inputs of a PNG differ, or float32 logits by more than 1e-5.
    """
    import onnx

    from convsmith.deploy.graph import roundings

    page, python = ChromiumPage(files), Bundle(Path(), manifest, OnnxRuntime(files[MODEL]))
    kinds, worst, largest = {name: _Kind() for name in _HEADS}, 0.0, 1.0
    for data in images:
        for name, content in _as_files(data, manifest):
            seen = _compare(page, python, content, kinds[name])
            if name == "png":
                first = python.task.first_input(seen, manifest.preprocess, len(manifest.labels))[None]
                expected = python.logits(first)
                worst = max(worst, float(np.abs(expected - run_in(page, first)).max()))
                largest = max(largest, float(np.abs(expected).max()))
    version = page.version
    page.close()
    found = {name: kind.figures() for name, kind in kinds.items() if kind.images}
    if found["png"]["max_abs_diff"]:
        raise _differs(f"of PNG files its input differs by up to {found['png']['max_abs_diff']} of 255")
    if worst > _LARGEST_DIFFERENCE * largest and not roundings(onnx.load_from_string(files[MODEL])):
        raise _differs(f"from equal pixels its logits differ by up to {worst:.2g}")
    return {"browser": f"Chromium {version}", "logits_max_abs_diff": worst, **found}


def _compare(page: ChromiumPage, python: Bundle, content: bytes, kind: _Kind) -> NDArray[np.uint8]:
    """Count the differences of one file; gives the model's input in Python."""
    manifest = python.manifest
    seen = read_and_preprocess(content, manifest.preprocess)
    [said] = python.task.ask(python.logits, [seen], ["image"], manifest)
    if isinstance(said, Exception):
        raise said
    decided, pixels = split(page.ask(_ANSWER, content))
    differences = np.abs(seen.ravel().astype(np.int16) - np.frombuffer(pixels, np.uint8))
    equal = np.asarray(decided) == np.asarray(python.task.decisions(said, manifest)).ravel()
    kind.images += 1
    kind.worst = max(kind.worst, int(differences.max()))
    kind.means.append(float(differences.mean()))
    kind.agreeing += int(equal.sum())
    kind.decisions += equal.size
    return seen


def _as_files(data: bytes, manifest: Manifest) -> Iterator[tuple[str, bytes]]:
    """The image as a file of each kind; itself where it is one."""
    pixels = np.asarray(decode(data, "image", manifest.preprocess.bands))
    for name, head in _HEADS.items():
        if data.startswith(head):
            yield name, data
        elif name == "png" or pixels.shape[2] in (1, 3):
            file = io.BytesIO()
            Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(file, name)
            yield name, file.getvalue()


def _differs(why: str) -> ConvsmithError:
    fix = "Nothing was written. Please report this with the recipe."
    return ConvsmithError("the page does not say in Chromium what Python says", why, fix)
