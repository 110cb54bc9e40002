"""Only the main thread of a training computes: torch gives each thread that does a team of threads of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

import convsmith as cs
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.scenes import scenes_recipe, write_scenes
from tests.training.tiny_model import name_tiny


class Noted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators of one thread."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(
        self, operator: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.found.append(f"{operator} in {threading.current_thread().name}")
        return operator(*args, **(kwargs or {}))


@pytest.fixture
def computed_elsewhere(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that gets the torch operators that threads of Python compute, other than the one that is here."""
    found: list[str] = []
    run = threading.Thread.run

    def watched(thread: threading.Thread) -> None:
        with Noted(found):
            run(thread)

    monkeypatch.setattr(threading.Thread, "run", watched)
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)  # no step comes after it
    return found


def test_only_the_main_thread_of_a_classifiers_training_computes(
    digits: Path, tmp_path: Path, computed_elsewhere: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_tiny(monkeypatch)
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0"])
    cs.train(recipe, digits, tmp_path / "run")
    assert computed_elsewhere == []


def test_only_the_main_thread_of_a_segmenters_training_computes(
    tmp_path: Path, computed_elsewhere: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name_tiny_segmenter(monkeypatch)
    scenes = write_scenes(tmp_path / "scenes")
    cs.train(scenes_recipe(tmp_path, "schedule.epochs=1"), scenes, tmp_path / "run")
    assert computed_elsewhere == []
