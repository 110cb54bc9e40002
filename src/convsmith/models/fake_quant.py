"""Training for INT8: tensors are rounded to 256 levels in the forward pass, and gradients pass as if they were not.

Krishnamoorthi 2018 (arXiv:1806.08342), sections 3.1 and 3.2: symmetric weights with a scale for each output channel,
activations with a scale and a zero point for each tensor, whose range is a moving average. BatchNorm is not folded:
with a scale for each channel the integers are the same before and after.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MethodType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.spec import Size

MARK = "convsmith::Rounded"
"""The operator behind each rounded tensor of a graph that is exported in the form `marked`; its attribute is `site`."""

Form = Literal["rounded", "float", "marked"]

# Functions by name, of torch, of its functional module and of tensors. All but the moves are counted, and their order
# must be the same in training and evaluation: what DropPath and DropBlock call in training alone is not among them.
_WEIGHTED = frozenset({"conv2d", "linear"})
_CLAMPS = frozenset({"relu", "relu_", "relu6", "hardtanh", "hardtanh_"})
_JOINS = frozenset({"add", "add_", "__add__", "__iadd__", "cat", "mean", "adaptive_avg_pool2d", "avg_pool2d"})
_MOVES = frozenset({"max_pool2d", "flatten", "pad", "interpolate"})
_DROPOUT = "dropout"  # the identity in evaluation
_OTHERS = frozenset({"batch_norm", "layer_norm", "gelu", "permute", "addcmul"})
_COUNTED = _WEIGHTED | _CLAMPS | _JOINS | _OTHERS
_LEVELS = 255
_INPUT = -1  # the call that gives the images


def train_for_int8(model: VisionModel, size: Size, momentum: float, largest: int = 127) -> None:
    """Make a model round, in training and evaluation, what INT8 inference rounds.

    Its state dict grows by the ranges; other names stay. Layers whose input or output cannot be rounded stay in float.

    Args:
        model: a network whose forward pass calls the same functions each time.
        size: height and width of images that it takes.
        momentum: share of a batch's range in the moving average of ranges.
        largest: integer of a weight, see `largest_weight`.
    """
    calls = _calls_of(model, size)
    model.rounding = _Rounding(calls, momentum, largest)
    model.forward = MethodType(_rounded_forward, model)


def _rounded_forward(model: VisionModel, x: Tensor) -> Any:
    """Run the model on images, and round on the way."""
    assert isinstance(model.rounding, _Rounding)
    mode = _Rounded(model.rounding)
    images = mode.given(_INPUT, x)
    with mode:
        output = type(model).forward(model, images)
    mode.check()
    return output


def rounding_of(model: nn.Module) -> _Rounding | None:
    """The ranges that a model trained for INT8 knows; None of another one."""
    return next((module for module in model.modules() if isinstance(module, _Rounding)), None)


class _Rounding(nn.Module):
    """Which tensors are rounded, and their ranges.

    Attributes:
        low, high: float32 [S], the range of each rounded tensor, 0 within it.
        largest: integer of a weight.
        form: `rounded`; `float`, which rounds neither tensors nor weights; or `marked`, the same with a mark behind
            each tensor that is rounded else, for an export.
    """

    low: Tensor
    high: Tensor
    batches: Tensor
    form: Form

    def __init__(self, calls: Sequence[_Call], momentum: float, largest: int) -> None:
        super().__init__()
        sites, self.layers = _sites(calls)
        self.sites = {call: site for site, call in enumerate(sites)}
        self.names = [call.name for call in calls if call.counted]
        self.momentum, self.largest, self.form = momentum, largest, "rounded"
        self.register_buffer("low", torch.zeros(len(sites)))
        self.register_buffer("high", torch.zeros(len(sites)))
        self.register_buffer("batches", torch.zeros(len(sites), dtype=torch.int64))

    def forward(self, x: Tensor, site: int) -> Tensor:
        """The tensor in 256 levels; in training its range counts too."""
        if self.form == "float":
            return x
        if self.form == "marked":
            return torch.onnx.ops.symbolic(MARK, (x,), {"site": site}, dtype=x.dtype, shape=x.shape)
        if self.training:
            with torch.no_grad():
                share = torch.where(self.batches[site] == 0, 1.0, self.momentum)
                low, high = x.detach().float().aminmax()
                self.low[site].lerp_(low.clamp(max=0), share)
                self.high[site].lerp_(high.clamp(min=0), share)
                self.batches[site] += 1
        width = (self.high[site] - self.low[site]) / _LEVELS
        scale = torch.where(width > 0, width, torch.ones_like(width))
        zero = (-self.low[site] / scale).round().clamp(0, _LEVELS)
        rounded: Tensor = _Levels.apply(x, scale, zero, 0, _LEVELS)
        return rounded

    @contextmanager
    def in_form(self, form: Form) -> Iterator[None]:
        """Compute in another form for a while."""
        self.form = form
        try:
            yield
        finally:
            self.form = "rounded"


class _Rounded(TorchFunctionMode):
    """Rounds while a forward pass goes on."""

    def __init__(self, rounding: _Rounding) -> None:
        super().__init__()
        self._rounding, self._next = rounding, 0

    def given(self, call: int, x: Tensor) -> Tensor:
        """The result of a call, or that rounded."""
        site = self._rounding.sites.get(call)
        if site is None:
            return x
        rounded: Tensor = self._rounding(x, site)
        return rounded

    def check(self, name: str | None = None) -> None:
        """Raise a ConvsmithError unless `name` is the function that comes next; None: the end."""
        names = self._rounding.names
        expected = names[self._next] if self._next < len(names) else None
        if name != expected:
            raise ConvsmithError(
                "this model cannot be trained for INT8",
                f"its forward pass does not always call the same functions: `{name}` came instead of `{expected}`",
                "Set quantization_aware=null.",
            )

    def __torch_function__(
        self, func: Callable[..., Any], _types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not _is_counted(func, args):
            return func(*args, **kwargs)
        self.check(func.__name__)
        call, self._next = self._next, self._next + 1
        if call in self._rounding.layers and self._rounding.form == "rounded":
            args = (args[0], round_weights(args[1], self._rounding.largest), *args[2:])
        return self.given(call, func(*args, **kwargs))


class _Levels(torch.autograd.Function):
    """The nearest of some levels. The gradient passes where the value was within their range."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, zero: Tensor, lowest: int, highest: int) -> Tensor:
        levels = (x.float() / scale).round() + zero
        ctx.save_for_backward((levels >= lowest) & (levels <= highest))
        return ((levels.clamp(lowest, highest) - zero) * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None, None


def round_weights(weights: Tensor, largest: int) -> Tensor:
    """Weights [O, ...] in the levels -`largest` to `largest`, with a scale for each of the O output channels."""
    scale = weights.detach().float().abs().flatten(1).amax(1) / largest
    scale = torch.where(scale > 0, scale, torch.ones_like(scale)).view(-1, *[1] * (weights.ndim - 1))
    rounded: Tensor = _Levels.apply(weights, scale, torch.zeros_like(scale), -largest, largest)
    return rounded


def _is_counted(func: Callable[..., Any], args: Sequence[Any]) -> bool:
    """Whether a function is one of those that are identified by their order: of float tensors with a batch."""
    if getattr(func, "__name__", "") not in _COUNTED or not args:
        return False
    first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
    return isinstance(first, Tensor) and first.is_floating_point() and first.ndim >= 2


@dataclass
class _Call:
    """A function that a forward pass calls.

    Attributes:
        name: of the function; `images` stands for what gives the images.
        counted: whether the order tells it apart.
        inputs: positions of the calls that give its tensors.
        readers: positions of the calls that read what it gives.
    """

    name: str
    counted: bool
    inputs: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)


class _Recorder(TorchFunctionMode):
    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.calls = [_Call("images", counted=False)]
        self._makers = {id(images): 0}
        self._alive: list[Any] = [images]  # so that no id is given twice

    def __torch_function__(
        self, func: Callable[..., Any], _types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        results = list(_tensors((output,)))
        if results and getattr(func, "__name__", "") != "__get__":
            call = _Call(getattr(func, "__name__", ""), _is_counted(func, args))
            call.inputs = [self._makers[id(x)] for x in _tensors(args) if id(x) in self._makers]
            for maker in call.inputs:
                self.calls[maker].readers.append(len(self.calls))
            for result in results:
                self._makers[id(result)] = len(self.calls)
            self._alive.append(output)
            self.calls.append(call)
        return output


def _calls_of(model: VisionModel, size: Size) -> list[_Call]:
    """Calls of a model's forward pass, found out without arithmetic."""
    shapes = copy.deepcopy(model).to("meta").eval()
    images = torch.empty(2, model.in_channels, *size, device="meta")
    recorder = _Recorder(images)
    try:
        with torch.no_grad(), recorder:
            shapes(images)
    except ConvsmithError:
        raise
    except Exception as error:  # a size that another library refuses, what depends on values, ...
        reason = str(error).strip().partition("\n")[0]
        raise ConvsmithError("this model cannot be trained for INT8", reason, "Set quantization_aware=null.") from error
    return recorder.calls


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _sites(calls: Sequence[_Call]) -> tuple[list[int], frozenset[int]]:
    """Which counted calls give tensors that are rounded, `_INPUT` for the images, and which have their weights rounded.

    They are what `deploy.qdq.place` rounds in the exported graph.
    """
    numbers, rounded, layers = {0: _INPUT}, set[int](), set[int]()
    for position, call in enumerate(calls):
        if call.counted:
            numbers[position] = len(numbers) - 1

    def source(position: int) -> int:
        """The origin of a moved tensor; through a dropout to what is rounded anyway, so that a run keeps its ranges."""
        call = calls[position]
        if not call.inputs or call.name not in _MOVES | {_DROPOUT}:
            return position
        found = source(call.inputs[0])
        return position if call.name == _DROPOUT and found not in rounded else found

    def sole_reader(position: int, names: frozenset[str]) -> int:
        readers = calls[position].readers
        return readers[0] if len(readers) == 1 and calls[readers[0]].name in names else position

    for position, call in enumerate(calls):
        if call.name in _WEIGHTED and call.inputs:
            given = source(call.inputs[0])
            if given not in numbers:
                continue
            rounded.add(given)
            layers.add(numbers[position])
            normed = sole_reader(position, frozenset({"batch_norm"}))
            result = sole_reader(normed, _CLAMPS)
            if call.name == "conv2d" or result != position:
                rounded.add(result)
        elif call.name in _JOINS and call.inputs and all(source(maker) in rounded for maker in call.inputs):
            rounded.add(sole_reader(position, _CLAMPS))
    return [numbers[position] for position in sorted(rounded)], frozenset(layers)
