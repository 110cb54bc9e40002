"""DropBlock against numbers of the official ResNeSt code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from convsmith.models.layers import DropBlock, centre_density, drop_blocks
from convsmith.models.registry import create_model
from tests.models.golden import golden

OFFICIAL = golden("dropblock")


@pytest.mark.parametrize("case", OFFICIAL["gamma"])
def test_share_of_centres_is_the_official_one(case: dict[str, Any]) -> None:
    given = case["in"]
    density = centre_density(given["block_size"], given["h"], given["w"])
    assert given["drop_prob"] * density == pytest.approx(case["out"]["gamma"], rel=1e-12)


@pytest.mark.parametrize("case", OFFICIAL["apply"])
def test_mask_and_scale_are_the_official_ones(case: dict[str, Any]) -> None:
    given, expected = case["in"], case["out"]
    numbers = np.random.RandomState(given["seed"])
    x = torch.from_numpy(numbers.randn(*given["shape"]))
    noise = torch.from_numpy(numbers.rand(1, *given["shape"][1:]))
    y = drop_blocks(x, noise, given["drop_prob"], given["block_size"])
    rows = ["".join(str(int(kept)) for kept in channel.flatten()) for channel in y[0] != 0]
    assert rows == expected["keep_mask_rows_channel_by_channel"]
    assert y.sum().item() == pytest.approx(expected["y_sum"], rel=1e-9)
    assert y.norm().item() == pytest.approx(expected["y_l2"], rel=1e-9)
    assert y[0, 0].flatten()[:8].tolist() == pytest.approx(expected["y_first_8_of_sample_0_channel_0"], rel=1e-9)


@pytest.mark.parametrize("case", OFFICIAL["layers"], ids=lambda case: case["in"]["model"])
def test_layers_are_where_the_official_network_has_them(case: dict[str, Any]) -> None:
    seen: list[list[object]] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen.append([name, *output.shape[1:]])

        return hook

    with torch.device("meta"):
        model = create_model(case["in"]["model"], dropblock_prob=0.1)
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, DropBlock)}
    for name, block in blocks.items():
        block.register_forward_hook(note(name))
    size = case["in"]["input_size"]
    model(torch.empty(2, 3, size, size, device="meta"))
    assert seen == case["out"]["blocks [name, channels, height, width]"]
    assert {(block.drop_prob, block.block_size) for block in blocks.values()} == {(0.1, 3)}


def test_evaluation_and_probability_zero_leave_the_input_alone() -> None:
    x = torch.randn(2, 4, 8, 8)
    assert DropBlock(0.5).eval()(x) is x
    assert DropBlock().train()(x) is x


def test_a_patch_is_three_pixels_wide_as_resnest_has_it() -> None:
    assert DropBlock().block_size == 3


def test_all_images_of_a_batch_lose_the_same_patches() -> None:
    torch.manual_seed(0)
    kept = DropBlock(0.2)(torch.ones(3, 8, 12, 12)) != 0
    assert 0 < kept.float().mean() < 1
    assert (kept == kept[:1]).all()


def test_the_mean_is_kept() -> None:
    torch.manual_seed(0)
    y = DropBlock(0.3)(torch.ones(1, 16, 14, 14))
    assert y.mean().item() == pytest.approx(1, rel=1e-5)
    assert y.max().item() > 1.2


@pytest.mark.parametrize("size", [1, 2])
def test_maps_smaller_than_a_patch_are_dropped_whole_or_kept(size: int) -> None:
    torch.manual_seed(0)
    dropped = DropBlock(0.3)(torch.ones(1, 4000, size, size)).flatten(2)[0] == 0
    assert torch.equal(dropped.any(1), dropped.all(1))
    assert 0.01 < dropped.float().mean() < 0.5


def test_a_map_that_is_dropped_whole_gives_zeros() -> None:
    assert torch.equal(DropBlock(1.0)(torch.ones(2, 1, 3, 3)), torch.zeros(2, 1, 3, 3))


def test_an_even_patch_keeps_the_size() -> None:
    noise = torch.ones(1, 1, 4, 4)
    noise[0, 0, 1, 1] = 0
    y = drop_blocks(torch.ones(1, 1, 4, 4), noise, 0.1, block_size=2)
    assert (y[0, 0] == 0).nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_half_precision_stays_and_scales_alike() -> None:
    noise = torch.rand(1, 64, 14, 14)
    y = drop_blocks(torch.ones(1, 64, 14, 14, dtype=torch.bfloat16), noise, 0.1, 3)
    assert y.dtype == torch.bfloat16
    exact = drop_blocks(torch.ones(1, 64, 14, 14), noise, 0.1, 3)
    torch.testing.assert_close(y.float(), exact, rtol=2**-8, atol=0)


def test_the_probability_is_no_part_of_a_checkpoint() -> None:
    assert not DropBlock(0.1).state_dict()


def test_a_new_probability_takes_effect_and_compiles_nothing_anew() -> None:
    counter = CompileCounter()
    block = DropBlock(0.01)
    compiled = torch.compile(block, backend=counter, fullgraph=True)
    x = torch.ones(1, 32, 16, 16)
    dropped = []
    for prob in (0.01, 0.02, 0.2, 0.4):
        block.drop_prob = prob
        dropped.append((compiled(x) == 0).float().mean().item())
    assert counter.frame_count == 1
    assert dropped[0] < 0.1 < dropped[2] < dropped[3]


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match="0 to 1, not 2"):
        DropBlock(2)
