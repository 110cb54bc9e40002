"""Facts about our models that are read instead of measured: `facts.json`. Needs no torch to be read.

    python -m convsmith.models.facts

measures them all anew and writes the file.
"""

from __future__ import annotations

import fnmatch
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple


class Facts(NamedTuple):
    """Task, size and cost of one model, with the number of classes that it has by default."""

    task: str
    size: tuple[int, int]
    """Height and width of the image that the multiply-adds are for: what the authors measure the model at."""
    params: int
    """Trainable parameters."""
    gmacs: float
    """1e9 multiply-adds of the forward pass of one image: convolutions, linear layers and matrix products only."""


def list_facts(pattern: str = "*") -> dict[str, Facts]:
    """The facts of each of our models whose name matches a shell pattern such as `resnet*`, by sorted name."""
    return {name: facts for name, facts in _facts().items() if fnmatch.fnmatchcase(name, pattern)}


@cache
def _facts() -> dict[str, Facts]:
    data = json.loads(files("convsmith.models").joinpath("facts.json").read_text(encoding="utf-8"))
    return {name: Facts(task, (height, width), *cost) for name, (task, (height, width), *cost) in data.items()}


def measure(name: str) -> Facts:
    """Build a model without memory for its weights, and count."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from convsmith.models.registry import create_model, default_size

    size = default_size(name)
    with torch.device("meta"):
        model = create_model(name).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.empty(1, 3, *size, device="meta"))
    return Facts(
        task=model.task,
        size=size,
        params=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        gmacs=round(counter.get_total_flops() / 2e9, 4),
    )


def main() -> None:
    """Write `facts.json` beside this file."""
    from convsmith.models.registry import list_models

    lines = (f"{json.dumps(name)}: {json.dumps(measure(name))}" for name in list_models())
    Path(__file__).with_name("facts.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
