"""A model whose inferences wait until a test lets them go."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from numpy.typing import NDArray

from convsmith.bundle.runtime import OnnxRuntime
from tests.serve.running import PATIENCE


class HeldModel:
    """Holds every inference of images, from its start until `release`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started = threading.Semaphore(0)
        self.release = threading.Event()
        self.running = self.most_running = 0
        lock = threading.Lock()
        run = OnnxRuntime.run

        def held(runtime: OnnxRuntime, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            if not threading.current_thread().name.startswith("infer"):  # while the bundle is loaded
                return run(runtime, images)
            with lock:
                self.running += 1
                self.most_running = max(self.running, self.most_running)
            self.started.release()
            assert self.release.wait(PATIENCE)
            with lock:
                self.running -= 1
            return run(runtime, images)

        monkeypatch.setattr(OnnxRuntime, "run", held)

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.started.acquire(timeout=PATIENCE)
