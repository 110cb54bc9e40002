from __future__ import annotations

import torch
from torch import nn

from convsmith.recipe import schema
from convsmith.training.ema import Ema


def test_an_update_moves_the_average_by_one_minus_decay() -> None:
    model = nn.Linear(2, 1)
    ema = Ema(model, schema.Ema(decay=0.9, warmup=False))
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1
    ema.update(0)
    torch.testing.assert_close(ema.model.weight, before + 0.1)


def test_float_buffers_are_averaged_and_integer_buffers_copied() -> None:
    model = nn.BatchNorm1d(2)
    ema = Ema(model, schema.Ema(decay=0.75, warmup=False))
    model(torch.randn(4, 2))
    ema.update(0)
    assert model.running_mean is not None
    torch.testing.assert_close(ema.model.running_mean, 0.25 * model.running_mean)
    assert ema.model.state_dict()["num_batches_tracked"] == model.state_dict()["num_batches_tracked"] == 1


def test_warmup_follows_the_model_closely_at_first() -> None:
    ema = Ema(nn.Linear(1, 1), schema.Ema(decay=0.999, warmup=True))
    assert [round(ema.decay(n), 4) for n in (0, 8, 10**6)] == [0.1, 0.5, 0.999]


def test_the_average_is_in_eval_mode_and_takes_no_gradient() -> None:
    ema = Ema(nn.Linear(1, 1), schema.Ema())
    assert not ema.model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
