"""Judging where memory has no room for a batch: it is gone through in parts, down to one image."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convsmith.data.loading.loader import Batch
from convsmith.training.evaluation import evaluate
from convsmith.training.memory import OutOfMemory


class Hungry(nn.Module):
    """Gives the first pixel of each image, where memory has room for them."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room, self.seen = room, list[int]()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return images[:, :1, 0, 0]


class Answers:
    """What was answered about all images."""

    def __init__(self) -> None:
        self.all = list[float]()

    def judge(self, infer: Callable[[NDArray[Any]], NDArray[np.float32]], images: Tensor, _targets: Tensor) -> None:
        self.all += infer(images.numpy())[:, 0].tolist()


def judged(model: Hungry, batches: int) -> list[float]:
    """The answers about batches of six images each, whose pixels count them."""
    parts: Any = SimpleNamespace(
        task=SimpleNamespace(logits=lambda model, images: model(images)), as_input=Tensor.float, new_results=Answers,
        eval_precision="fp32", device=torch.device("cpu"),
    )  # fmt: skip
    images = torch.arange(6 * batches, dtype=torch.uint8).view(batches, 6, 1, 1, 1)
    found: Any = evaluate(parts, model, [Batch(it, torch.zeros(6, dtype=torch.int64), []) for it in images])
    answers: list[float] = found.all
    return answers


@pytest.mark.parametrize(
    ("room", "seen"),
    [(6, [6, 6]), (4, [6, 3, 3, 3, 3]), (2, [6, 3, 1, *[1] * 5, *[1] * 6]), (1, [6, 3, 1, *[1] * 5, *[1] * 6])],
)
def test_a_batch_is_judged_in_parts_that_fit_and_so_are_those_after_it(room: int, seen: list[int]) -> None:
    model = Hungry(room)
    assert judged(model, 2) == list(range(12))
    assert model.seen == seen


def test_where_not_even_one_image_fits_that_is_the_error() -> None:
    with pytest.raises(OutOfMemory, match="out of memory with 1 image in a forward pass"):
        judged(Hungry(0), 1)
