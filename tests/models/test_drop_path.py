"""DropPath against timm's, which the official ConvNeXt code uses."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from convsmith.models.layers import DropPath


@pytest.mark.parametrize("shape", [(20_000, 2, 1, 1), (20_000, 3)])
def test_it_drops_whole_samples_and_keeps_the_mean(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    kept = DropPath(0.3)(torch.ones(shape)).flatten(1)
    assert torch.equal(kept.amin(1), kept.amax(1))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert kept.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.1, 0.95, 1.0])
def test_each_sample_becomes_what_timm_makes_of_a_dropped_or_of_a_kept_one(rate: float, dtype: torch.dtype) -> None:
    timm = pytest.importorskip("timm.layers", reason="timm is not installed")
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4).to(dtype).repeat(200, 1, 1)
    ours, theirs = DropPath(rate)(x), timm.DropPath(rate)(x)
    assert ours.dtype == theirs.dtype
    for i in (0, 1):  # the even samples are alike, and so are the odd ones
        torch.testing.assert_close(ours[i::2].unique(dim=0), theirs[i::2].unique(dim=0))


def test_evaluation_and_rate_zero_leave_the_input_alone() -> None:
    x = torch.randn(2, 4)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_a_new_rate_takes_effect_and_compiles_nothing_anew() -> None:
    counter = CompileCounter()
    layer = DropPath(0.1)
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    x = torch.ones(4000, 1)
    dropped = []
    for rate in (0.1, 0.3, 0.9):
        layer.drop_prob = rate
        dropped.append((compiled(x) == 0).float().mean().item())
    assert counter.frame_count == 1
    assert dropped == pytest.approx([0.1, 0.3, 0.9], abs=0.05)


def test_the_rate_is_no_part_of_a_checkpoint() -> None:
    assert not DropPath(0.1).state_dict()
