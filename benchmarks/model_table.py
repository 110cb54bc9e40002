"""The table of all models in docs/models.md: cost, and difference to the official code.

    .venv/bin/python -m benchmarks.model_table

Differences are to the golden files in tests/goldens, made with the official code on the same weights and images: the
largest difference of a kept logit relative to the largest one (float32), and the largest relative difference of first
loss, gradient norm and loss after one step (float64).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import convsmith as cs
from convsmith.models.base import VisionModel
from convsmith.models.facts import list_facts
from tests.models.golden import OFFICIAL, filled_state_dict, golden, golden_input


def filled(official: str) -> VisionModel:
    """Our model with the weights that the golden file was made with."""
    name, options = OFFICIAL[official]
    model = cs.create_model(name, **options)
    cs.load_weights(model, filled_state_dict(golden(official)["keys"]))
    return model.eval()


@torch.inference_mode()
def eval_difference(official: str) -> float:
    """Of all inputs and outputs of the file, the largest difference of a logit relative to the largest logit."""
    model = filled(official)
    expected = golden(official)
    worst = 0.0
    for record in (expected, *expected.get("eval_extra", [])):
        given = model(golden_input(record["input_shape"], record.get("input_scale") or 1.0))
        maps = given if isinstance(given, list) else [given]
        kept = [record[key] for key in ("eval_aux", "eval") if key in record]
        worst = max(worst, *(_difference(logits, what) for logits, what in zip(maps, kept, strict=True)))
    return worst


def _difference(logits: Tensor, kept: dict[str, Any]) -> float:
    flat = logits.double().flatten(1)
    expected = torch.tensor(kept["first16"], dtype=torch.float64)
    return float((flat[:, : expected.shape[1]] - expected).abs().max() / flat.abs().max())


def training_difference(official: str) -> float | None:
    """The largest relative difference of the three figures of a training step; None where the file keeps none."""
    expected = golden(official)
    if "train" not in expected:
        return None
    model = filled(official).double().train()
    images = golden_input(expected["input_shape"]).double()
    first = _loss(model(images), expected)
    first.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    torch.optim.SGD(model.parameters(), lr=expected["train"]["lr"]).step()
    second = _loss(model(images), expected)
    official_step = expected["train"]["float64"]
    ours = {"loss0": first, "grad_norm": norm, "loss1": second}
    return max(abs(float(value.detach()) / float(official_step[key]) - 1) for key, value in ours.items())


def _loss(logits: Tensor, expected: dict[str, Any]) -> Tensor:
    if "align_corners" not in expected:
        return F.cross_entropy(logits, torch.tensor(expected["train"]["labels"]))
    count, _, height, width = expected["input_shape"]
    logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=expected["align_corners"])
    targets = (torch.arange(height * width) % logits.shape[1]).view(1, height, width).expand(count, -1, -1)
    return F.cross_entropy(logits, targets)


def main() -> None:
    """Print the table as Markdown."""
    files = {name: official for official, (name, _) in OFFICIAL.items()}
    print("| model | params | GMACs | at | eval difference | training difference |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, facts in list_facts().items():
        official = files.get(name)
        evaluation = f"{eval_difference(official):.0e}" if official else ""
        training = training_difference(official) if official else None
        cost = f"{facts.params:,} | {facts.gmacs:.2f} | {facts.size[0]}x{facts.size[1]}"
        print(f"| `{name}` | {cost} | {evaluation} | {'' if training is None else f'{training:.0e}'} |", flush=True)


if __name__ == "__main__":
    main()
