"""Time of the OHEM loss against its plain form, which sorts the probabilities of all pixels.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/ohem_speed.py [--size N K H W] [--rounds N]

Both losses get the same logits and masks in one process and take turns, so that what else the machine does meets both;
medians count, the ratio is the median of those of neighbouring calls. With random logits most pixels are hard; of
confident ones few are, so that the loss has to find the `min_kept`-th hardest. A tenth of the pixels is ignored. The
last column is the relative difference of the two values.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from convsmith.spec import IGNORED
from convsmith.tasks.segmentation_losses import ohem

THRESHOLD, MIN_KEPT = 0.9, 131072


def sorting_ohem(logits: Tensor, target: Tensor) -> Tensor:
    """The loss as its definition reads."""
    losses = F.cross_entropy(logits, target, ignore_index=IGNORED, reduction="none")
    valid = target != IGNORED
    right = torch.where(valid, target, 0).unsqueeze(1)
    p = logits.softmax(1).gather(1, right).squeeze(1)[valid]
    ordered, order = p.detach().sort()
    threshold = max(float(ordered[min(MIN_KEPT, len(ordered) - 1)]), THRESHOLD)
    return losses[valid][order][ordered < threshold].mean()


def our_ohem(logits: Tensor, target: Tensor) -> Tensor:
    """The loss of the package."""
    return ohem(logits, target, THRESHOLD, MIN_KEPT)


def inputs(size: tuple[int, int, int, int], margin: float) -> tuple[Tensor, Tensor]:
    """Random logits [N, K, H, W], the right class's raised by a margin, and masks [N, H, W]."""
    n, k, h, w = size
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, k, (n, h, w), generator=generator)
    logits = 2 * torch.randn(size, generator=generator)
    logits.scatter_add_(1, target.unsqueeze(1), torch.full((n, 1, h, w), margin))
    target[torch.rand((n, h, w), generator=generator) < 0.1] = IGNORED
    return logits, target


def milliseconds(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, target: Tensor, backward: bool) -> float:
    """Time of the loss, ready for its gradient, or with it."""
    start = time.perf_counter()
    value = loss(logits, target)
    if backward:
        torch.autograd.grad(value, logits)
    return 1000 * (time.perf_counter() - start)


def compare(logits: Tensor, target: Tensor, backward: bool, rounds: int) -> tuple[float, float, float]:
    """Medians of the plain form and ours, and the median of the ratios of neighbouring calls."""
    pairs = [
        (milliseconds(sorting_ohem, logits, target, backward), milliseconds(our_ohem, logits, target, backward))
        for _ in range(rounds + 2)
    ][2:]
    plain, ours = zip(*pairs, strict=True)
    return statistics.median(plain), statistics.median(ours), statistics.median(a / b for a, b in pairs)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=4, default=(2, 19, 512, 1024), metavar=("N", "K", "H", "W"))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    size = "x".join(map(str, options.size))
    print(f"OHEM at {size}, float32, {torch.get_num_threads()} threads, medians of {options.rounds} rounds\n")
    print("| pixels | what | sorting, ms | ours, ms | ratio | difference |")
    print("|---|---|---|---|---|---|")
    for pixels, margin in (("mostly hard", 0.0), ("mostly easy", 12.0)):
        logits, target = inputs(options.size, margin)
        difference = abs(our_ohem(logits, target) / sorting_ohem(logits, target) - 1).item()
        logits.requires_grad_()
        for what in ("forward", "forward and backward"):
            plain, ours, ratio = compare(logits, target, what != "forward", options.rounds)
            row = f"| {pixels} | {what} | {plain:.0f} | {ours:.0f} | {ratio:.2f} | {difference:.0e} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
