"""One image on its way through the server, and what there is to say of it at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.predictor import Bundle
from convsmith.bundle.task import Answer
from convsmith.serve.models import Model
from convsmith.serve.problems import Problem


@dataclass(eq=False)
class Asked:
    """A question to a model; who watches the server gets it when it is answered or refused.

    Attributes:
        model: what is asked.
        bundle: the model's, as it was when the question came.
        client: who asks, an address.
        name: what errors call the image.
        started: when it came, on `time.perf_counter`.
        seconds: how long each stage took, by its name: `queue`, `preprocess`, `inference`, `answer`.
        starts: when stages began, as far as that is known, on `time.perf_counter`.
        batch: how many images the model ran on together with this one.
        status: of the answer, once it is known.
        pixels: the preprocessed image [C, H, W], uint8, once it is there.
        answer: what the model says, once it is known.
        given_up: set once no client waits for the answer any more.
    """

    model: Model
    bundle: Bundle
    client: str
    name: str = "the uploaded file"
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)
    starts: dict[str, float] = field(default_factory=dict)
    batch: int = 1
    status: int | None = None
    pixels: NDArray[np.uint8] | None = None
    answer: Answer | None = None
    given_up: bool = False

    def check_wanted(self) -> None:
        """Raise a `Problem` once no client waits for the answer any more."""
        if self.given_up:
            raise Problem(400, "the client has left")

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long the block takes."""
        self.starts[stage] = start = time.perf_counter()
        try:
            yield
        finally:
            self.note(stage, time.perf_counter() - start)

    def note(self, stage: str, seconds: float) -> None:
        """Add to the seconds of a stage, until it is given up: then watchers read them."""
        if not self.given_up:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


Watcher = Callable[[Asked, Any], None]
"""Called on the event loop with each question that has ended, and its image's file or None; it must not block."""
