"""A model in onnxruntime-web, as Python runs it: in a page of headless Chromium."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.deploy.format import Files
from convsmith.deploy.web.chromium import ChromiumPage
from convsmith.deploy.web.page import MODULES
from convsmith.pages import joined

_HARNESS = b'<!doctype html><title>proof</title><link rel="icon" href="data:,"><script src="run.js"></script>'
_RUN = """async (given, shape) => {
  const { data, dims } = await (await convsmith.model)(given, shape);
  return new Blob([JSON.stringify(dims), "\\n", data]);
}"""


class WebRuntime:
    """The model of a web export's files, in Chromium, with one thread."""

    def __init__(self, files: Files) -> None:
        self._page = ChromiumPage({**files, "index.html": _HARNESS, "run.js": joined(MODULES / "run.js").encode()})

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits of images, one after another."""
        return np.concatenate([run_in(self._page, image[None]) for image in images])


def run_in(page: ChromiumPage, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits that a page's `convsmith.model` gives images [N, C, H, W]."""
    shape, data = split(page.ask(_RUN, np.ascontiguousarray(images).tobytes(), list(images.shape)))
    return np.frombuffer(data, np.float32).reshape(shape)


def split(said: bytes) -> tuple[Any, bytes]:
    """A line of JSON, and the bytes behind it."""
    line, _, data = said.partition(b"\n")
    return json.loads(line), data
