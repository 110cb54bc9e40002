"""What training for INT8 rounds, and to what, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier
from convsmith.models.fake_quant import MARK, _Rounding, round_weights, rounding_of, train_for_int8

SIZE = (8, 8)


class Net(ImageClassifier):
    """A network in which every kind of function occurs."""

    heads = ("head",)

    def __init__(self, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.conv3 = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(8, 5)

    def block_prefixes(self) -> list[tuple[str, ...]]:
        return []

    def forward_features(self, x: Tensor) -> Tensor:
        first = F.max_pool2d(torch.relu(self.bn(self.conv1(x))), 2)  # 0 conv2d, 1 batch_norm, 2 relu
        gated = F.gelu(self.conv2(first))  # 3 conv2d, 4 gelu, which stays in float
        both = torch.relu(first + self.conv3(first))  # 5 conv2d, 6 add, 7 relu
        mixed = gated + both  # 8 add, of something in float
        joined = torch.cat([both, self.conv2(mixed)], 1)  # 9 conv2d, of a float, 10 cat
        return self.dropout(joined.mean((2, 3)))  # type: ignore[no-any-return]  # 11 mean, then 12 linear


def rounding(model: nn.Module) -> _Rounding:
    found = rounding_of(model)
    assert found is not None
    return found


def made(largest: int = 127, momentum: float = 0.25) -> Net:
    torch.manual_seed(0)
    model = Net()
    train_for_int8(model, SIZE, momentum, largest)
    return model


def test_layers_are_rounded_with_what_they_take_and_give() -> None:
    found = rounding(made())
    names = ["conv2d", "batch_norm", "relu", "conv2d", "gelu", "conv2d", "add", "relu", "add", "conv2d", "cat", "mean"]
    assert found.names == [*names, "linear"]
    assert found.layers == {0, 3, 5, 9, 12}
    # the images; relu after a norm; conv2d alone; relu after an addition of rounded tensors; an addition that a
    # layer takes; conv2d alone; cat and mean of rounded tensors
    assert sorted(found.sites) == [-1, 2, 3, 5, 7, 8, 9, 10, 11]
    assert sorted(found.sites.values()) == list(range(9))
    assert len(found.low) == len(found.high) == len(found.batches) == 9


class Two(Net):
    """Results that two read are rounded where they are made."""

    def forward_features(self, x: Tensor) -> Tensor:
        first = self.conv1(x)  # 0 conv2d, read by two
        other = torch.relu(self.bn(first)) + first  # 1 batch_norm, 2 relu, 3 add of a float
        pooled = F.gelu(other).mean((2, 3))  # 4 gelu, 5 mean of a float
        return torch.cat([pooled, pooled], 1)  # 6 cat


def test_what_two_read_is_rounded_where_it_is_made() -> None:
    model = Two()
    train_for_int8(model, SIZE, 0.1)
    assert sorted(rounding(model).sites) == [-1, 0, 6]
    assert rounding(model).layers == {0, 7}


def levels(x: Tensor, low: float, high: float) -> Tensor:
    """A tensor in 256 levels."""
    scale = torch.tensor(high - low) / 255
    zero = (-low / scale).round()
    return (((x / scale).round() + zero).clamp(0, 255) - zero) * scale


def test_a_tensor_is_rounded_to_256_levels_of_the_average_range() -> None:
    found = rounding(made(momentum=0.25)).train()
    site = found.sites[2]
    first, second = torch.linspace(0.5, 2, 12).reshape(2, 6), torch.linspace(-3, 1, 12).reshape(2, 6)
    torch.testing.assert_close(found(first, site), levels(first, 0, 2))
    torch.testing.assert_close(found(second, site), levels(second, -0.75, 1.75))
    assert (found.low[site].item(), found.high[site].item(), found.batches[site].item()) == (-0.75, 1.75, 2)
    torch.testing.assert_close(found.eval()(first * 9, site), levels(first * 9, -0.75, 1.75))
    assert found.batches.tolist() == [2 if number == site else 0 for number in range(9)]


def test_a_tensor_of_zeros_stays() -> None:
    found = rounding(made()).train()
    assert not found(torch.zeros(2, 3), 0).any()
    assert not found(torch.full((2, 3), 0.25), 1).sub(0.25).any()


def test_the_gradient_passes_within_the_range() -> None:
    found = rounding(made()).eval()
    found.low[0], found.high[0] = -1.0, 1.55
    x = torch.tensor([[-1.5, -1.0, 0.3, 1.55, 1.6]], requires_grad=True)
    found(x, 0).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0, 1, 1, 1, 0]]


@pytest.mark.parametrize("largest", [63, 127])
def test_weights_have_levels_of_their_own_for_each_output_channel(largest: int) -> None:
    weights = torch.randn(4, 3, 2, 2) * torch.tensor([1.0, 10.0, 0.1, 0.0]).view(4, 1, 1, 1)
    rounded = round_weights(weights, largest)
    for one, other in zip(weights, rounded, strict=True):
        scale = float(one.abs().max()) / largest or 1.0
        torch.testing.assert_close(other, (one / scale).round() * scale)
        assert float(other.abs().max()) == pytest.approx(float(one.abs().max()), rel=1e-5)
    assert round_weights(torch.randn(5, 8), largest).shape == (5, 8)


def test_the_forward_pass_rounds_weights_and_tensors() -> None:
    model = made(largest=63).eval()
    found = rounding(model)
    found.low.fill_(-2.0)
    found.high.fill_(2.0)
    images = torch.randn(2, 3, *SIZE)

    def at(x: Tensor) -> Tensor:
        return levels(x, -2.0, 2.0)

    def convolved(layer: nn.Conv2d, x: Tensor, padding: int = 0) -> Tensor:
        return F.conv2d(x, round_weights(layer.weight, 63), layer.bias, padding=padding)

    with torch.no_grad():
        first = F.max_pool2d(at(torch.relu(model.bn(convolved(model.conv1, at(images), 1)))), 2)
        gated = F.gelu(at(convolved(model.conv2, first)))
        both = at(torch.relu(first + at(convolved(model.conv3, first))))
        joined = at(torch.cat([both, at(convolved(model.conv2, at(gated + both)))], 1))
        expected = F.linear(at(joined.mean((2, 3))), round_weights(model.head.weight, 63), model.head.bias)
        torch.testing.assert_close(model(images), expected)


def test_another_form_rounds_nothing() -> None:
    model = made().eval()
    torch.manual_seed(0)
    plain = Net().eval()
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        with rounding(model).in_form("float"):
            torch.testing.assert_close(model(images), plain(images))
        assert rounding(model).form == "rounded"
        assert not torch.allclose(model(images), plain(images))
    assert rounding_of(plain) is None
    assert MARK == "convsmith::Rounded"


class Moody(Net):
    """It calls one function more, or less, than when it was looked at."""

    extra = 0

    def forward_features(self, x: Tensor) -> Tensor:
        features = super().forward_features(x)
        for _ in range(1 + self.extra):
            features = F.gelu(features)
        return features


@pytest.mark.parametrize(("extra", "came"), [(1, "`gelu` came instead of `linear`"), (-1, "`linear` came instead of")])
def test_a_forward_pass_that_calls_others_is_refused(extra: int, came: str) -> None:
    model = Moody()
    train_for_int8(model, SIZE, 0.1)
    model(torch.randn(2, 3, *SIZE))
    model.extra = extra
    with pytest.raises(ConvsmithError, match=came):
        model(torch.randn(2, 3, *SIZE))


def test_one_that_ends_early_is_refused() -> None:
    model = made()
    model.forward_features = lambda x: torch.zeros(2, 8)  # type: ignore[method-assign]
    with pytest.raises(ConvsmithError, match="`linear` came instead of `conv2d`"):
        model(torch.randn(2, 3, *SIZE))


def test_a_size_that_the_model_refuses_is_said_with_its_reason() -> None:
    class Odd(Net):
        def forward_features(self, x: Tensor) -> Tensor:
            raise ValueError("sides are odd\nand more")

    with pytest.raises(ConvsmithError, match="this model cannot be trained for INT8: sides are odd\n"):
        train_for_int8(Odd(), SIZE, 0.1)
