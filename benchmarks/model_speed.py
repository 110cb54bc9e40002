"""Images per second of a training step, ours against the same step of torchvision's or timm's implementation.

    OMP_NUM_THREADS=2 .venv/bin/python benchmarks/model_speed.py [MODEL ...] [--batch N] [--rounds N] [--json FILE]

A step is forward, loss, backward and SGD with momentum, in bf16 autocast and channels_last. Both models are in one
process and take turns, so that what else the machine does meets both; medians count. Use an otherwise idle machine.
hrnet_w18_seg is compared with timm's hrnet_w18 as a backbone, upsampling bilinearly as ours, under a head like ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import convsmith as cs


class TimmHRNetSegmentation(nn.Module):
    """HRNetV2 W18 for segmentation, of timm's parts."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone: Any = timm.create_model(
            "hrnet_w18", features_only=True, feature_location="", out_indices=(1, 2, 3, 4)
        )
        for module in self.backbone.modules():
            if isinstance(module, nn.Upsample):
                module.mode, module.align_corners = "bilinear", False
        features = 18 * (1 + 2 + 4 + 8)
        self.head = nn.Sequential(
            nn.Conv2d(features, features, 1),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
            nn.Conv2d(features, 19, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, 19, H/4, W/4]."""
        first, *others = self.backbone(x)
        resized = [F.interpolate(other, first.shape[-2:], mode="bilinear") for other in others]
        logits: Tensor = self.head(torch.cat([first, *resized], 1))
        return logits


class Peer(NamedTuple):
    """Another implementation of a model of ours."""

    name: str
    build: Callable[[], nn.Module]
    size: int = 224


PEERS = {
    "resnet50": Peer("torchvision resnet50", torchvision.models.resnet50),
    "resnest50": Peer("timm resnest50d", lambda: timm.create_model("resnest50d")),
    "convnext_tiny": Peer("timm convnext_tiny", lambda: timm.create_model("convnext_tiny")),
    "hrnet_w18": Peer("timm hrnet_w18", lambda: timm.create_model("hrnet_w18")),
    "hrnet_w18_seg": Peer("timm hrnet_w18 and an equal head", TimmHRNetSegmentation, 256),
}


def training_step(model: nn.Module, batch: int, size: int) -> Callable[[], None]:
    """A function that makes one step on random images."""
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, fused=True)
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        logits = model(images)
    targets = torch.randint(0, logits.shape[1], (batch, *logits.shape[2:]))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def seconds(step: Callable[[], None]) -> float:
    """How long one step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """Medians of both implementations, and the median of the ratios of neighbouring steps."""
    peer = PEERS[name]
    ours = training_step(cs.create_model(name), batch, peer.size)
    theirs = training_step(peer.build(), batch, peer.size)
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds + 2)][2:]
    return {
        "model": name,
        "peer": peer.name,
        "size": peer.size,
        "batch": batch,
        "ours": round(batch / statistics.median(a for a, _ in pairs), 2),
        "theirs": round(batch / statistics.median(b for _, b in pairs), 2),
        "ratio": round(statistics.median(b / a for a, b in pairs), 3),
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(PEERS), choices=[*PEERS, list(PEERS)], metavar="MODEL")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, help="file for the same figures")
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, batch {options.batch}, bf16, channels_last; images/s of a training step")
    rows = []
    for name in options.models:
        rows.append(compare(name, options.batch, options.rounds))
        print("{model:14} {ours:7} ours  {theirs:7} {peer:34} ratio {ratio}".format(**rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
