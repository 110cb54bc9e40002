"""Numbers of the official training code, and the inputs they were made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

GOLDENS = Path(__file__).parents[1] / "goldens" / "training"


def cases(file: str, section: str | None = None) -> list[dict[str, Any]]:
    """The cases of a file, or of one of its sections."""
    content = json.loads((GOLDENS / f"{file}.json").read_text())
    found: list[dict[str, Any]] = (content[section] if section else content)["cases"]
    return found


def normal(seed: int, *shape: int, scale: float = 2.0) -> Tensor:
    """Normally distributed numbers, float64."""
    return torch.from_numpy(np.random.RandomState(seed).randn(*shape) * scale)


def gradient_norm(loss: Tensor, logits: Tensor) -> float:
    """The L2 norm of the gradient."""
    return float(torch.autograd.grad(loss, logits)[0].norm())
