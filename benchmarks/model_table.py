"""The table of models in docs/models.md: cost, and difference to the official code.

    .venv/bin/python -m benchmarks.model_table

Differences are to the golden files in tests/goldens, made with the official code on the same weights and images: the
largest difference of a kept logit relative to the largest one (float32), and the largest relative difference of first
loss, gradient norm and loss after one step (float64).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convsmith.models.facts import list_facts
from tests.models.golden import OFFICIAL, golden, golden_input, in_training, official, training_loss


@torch.inference_mode()
def eval_difference(name: str) -> float:
    """The largest difference of a logit relative to the largest logit, over all inputs and outputs of the file."""
    model = official(name)
    expected = golden(name)
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


def training_difference(name: str) -> float | None:
    """The largest relative difference of the three figures of a training step; None where the file keeps none."""
    expected = golden(name)
    if "train" not in expected:
        return None
    model = in_training(name)
    images = golden_input(expected["input_shape"]).double()
    first = training_loss(model(images), expected)
    first.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.get_total_norm([p.grad for p in model.parameters() if p.grad is not None])
    torch.optim.SGD(model.parameters(), lr=expected["train"]["lr"]).step()
    second = training_loss(model(images), expected)
    official_step = expected["train"]["float64"]
    ours = {"loss0": first, "grad_norm": norm, "loss1": second}
    return max(abs(float(value.detach()) / float(official_step[key]) - 1) for key, value in ours.items())


def main() -> None:
    """Print the table as Markdown."""
    files = {name: file for file, (name, _) in OFFICIAL.items()}
    print("| model | params | GMACs | at | eval difference | training difference |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, facts in list_facts().items():
        file = files.get(name)
        if file is None and name.endswith(("_upernet", "_fcn")):
            continue  # a decoder on each of the backbones: `convsmith models` has them all
        evaluation = f"{eval_difference(file):.0e}" if file else ""
        training = training_difference(file) if file else None
        cost = f"{facts.params:,} | {facts.gmacs:.2f} | {facts.size[0]}x{facts.size[1]}"
        print(f"| `{name}` | {cost} | {evaluation} | {'' if training is None else f'{training:.0e}'} |", flush=True)


if __name__ == "__main__":
    main()
