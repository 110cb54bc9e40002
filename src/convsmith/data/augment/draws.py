"""Random numbers for one sample, from torch's default generator: the loader seeds it for every sample."""

from __future__ import annotations

import torch


def uniform() -> float:
    """A random number from 0 to 1, 1 excluded."""
    return torch.rand((), dtype=torch.float64).item()


def normal() -> float:
    """A number of the standard normal distribution."""
    return torch.randn((), dtype=torch.float64).item()


def below(bound: int) -> int:
    """A random integer from 0 to `bound` - 1."""
    return int(torch.randint(bound, ()).item())
