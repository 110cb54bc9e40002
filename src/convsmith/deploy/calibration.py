"""The range of values that each tensor of a model takes on real images, by three rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from convsmith.bundle.runtime import INPUT, OUTPUT, Infer, session_options
from convsmith.deploy.graph import Graph
from convsmith.deploy.qdq import Range
from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores

_BINS = 2048
_KEPT = 1 << 14  # values of a tensor that are counted in one forward pass, evenly of all
_IN_MEMORY = 1 << 26  # bytes of samples; more go into a temporary file
_PERCENTILE = 99.99
_SHARES = np.linspace(0.3, 1.0, 71)  # of the whole range, that entropy is measured of
_LEVELS = 256


def calibrate(graph: Graph, tensors: Collection[str], feed: Callable[[Infer], None]) -> dict[str, dict[str, Range]]:
    """The range of each tensor by each rule: `minmax`, `percentile`, `mse` and `entropy`; a rule that says the same as
    one before it is left out.

    Only the extremes and a sample of each tensor ever leave onnxruntime, and of samples more than a few go into a
    temporary file, so memory is that of a forward pass, however many images there are.

    Args:
        graph: a float model.
        tensors: names of tensors of it.
        feed: runs the function that it is given on all calibration images.
    """
    with _Probe(graph, [name for name in graph.makers if name in tensors]) as probe:  # as they are computed
        feed(probe.run)
        ranges = {"minmax": probe.ranges()}
        histograms = probe.histograms(ranges["minmax"])
    for rule, choose in _RULES.items():
        found = {name: choose(histogram, *ranges["minmax"][name]) for name, histogram in histograms.items()}
        if all(_differ(found, other) for other in ranges.values()):
            ranges[rule] = found
    return ranges


class _Probe:
    """Runs a model that also gives the extremes of some of its tensors, and a sample of their values."""

    def __init__(self, graph: Graph, names: list[str]) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(graph.model)
        outputs: dict[str, int] = {}
        values = -1, 0, np.iinfo(np.int64).max, 0, 2 * _KEPT, 2, 1
        flat, first, last, axis, most, two, one = (self._constant(f":{i}", value) for i, value in enumerate(values))
        for name in names:
            self._add("ReduceMin", [name], f"{name}:low", keepdims=0)
            self._add("ReduceMax", [name], f"{name}:high", keepdims=0)
            # each step-th value, an odd number, so that it meets all columns of a map
            self._add("Size", [name], f"{name}:size")
            self._add("Div", [f"{name}:size", most], f"{name}:half")
            self._add("Mul", [f"{name}:half", two], f"{name}:even")
            self._add("Add", [f"{name}:even", one], f"{name}:step")
            self._add("Reshape", [name, flat], f"{name}:flat")
            self._add("Slice", [f"{name}:flat", first, last, axis, f"{name}:step"], f"{name}:some")
            outputs |= dict.fromkeys((f"{name}:low", f"{name}:high", f"{name}:some"), TensorProto.FLOAT)
        self._start(outputs)
        self._low, self._high = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
        self._samples = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - which `__exit__` closes
        self._lengths: list[tuple[str, int]] = []  # of the samples, in the file's order

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._samples.close()

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._model.graph.node.append(helper.make_node(operator, inputs, [output], **attributes))

    def _constant(self, name: str, value: int) -> str:
        self._model.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
        return name

    def _start(self, outputs: Mapping[str, int]) -> None:
        for name, kind in outputs.items():
            self._model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
        options = session_options(available_cores())
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False  # which keep the most that was ever needed
        try:
            self._session = onnxruntime.InferenceSession(
                self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base of their own
            raise ConvsmithError("the model cannot be calibrated", str(error)) from error
        self._outputs = list(outputs)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The logits of some images; the rest is kept."""
        logits: NDArray[np.float32]
        try:
            logits, *values = self._session.run([OUTPUT, *self._outputs], {INPUT: images})
        except Exception as error:  # see above
            raise ConvsmithError(f"the model cannot run on images of shape {images.shape}", str(error)) from error
        found = dict(zip(self._outputs, values, strict=True))
        for name in self._low:
            self._low[name] = min(self._low[name], float(found[f"{name}:low"]))
            self._high[name] = max(self._high[name], float(found[f"{name}:high"]))
            sample = found[f"{name}:some"]
            self._samples.write(sample.tobytes())
            self._lengths.append((name, sample.nbytes))
        return logits

    def ranges(self) -> dict[str, Range]:
        """The lowest and the highest value of each tensor, and 0."""
        return {name: (min(self._low[name], 0.0), max(self._high[name], 0.0)) for name in self._low}

    def histograms(self, ranges: Mapping[str, Range]) -> dict[str, NDArray[np.int64]]:
        """How many values of the samples are in each of equal parts of the ranges."""
        found = {name: np.zeros(_BINS, np.int64) for name in ranges}
        self._samples.seek(0)
        for name, length in self._lengths:
            low, high = ranges[name]
            values = np.frombuffer(self._samples.read(length), np.float32).astype(np.float64)
            bins = ((values - low) * (_BINS / ((high - low) or 1.0))).astype(np.int64).clip(0, _BINS - 1)
            found[name] += np.bincount(bins, minlength=_BINS)
        return found


def _percentile(histogram: NDArray[np.int64], low: float, high: float) -> Range:
    """The range that is left when the same share of the values is cut off at both ends."""
    cut = (1 - _PERCENTILE / 100) / 2
    below = np.cumsum(histogram) / max(1, histogram.sum())
    width = (high - low) / _BINS
    first, last = np.searchsorted(below, cut, "right"), np.searchsorted(below, 1 - cut, "left")
    return min(low + float(first) * width, 0.0), max(low + float(last + 1) * width, 0.0)


def _least_entropy(histogram: NDArray[np.int64], low: float, high: float) -> Range:
    """The part of the range, cut at both ends alike, whose 256 levels lose least information (KL divergence).

    Migacz 2017, 8-bit Inference with TensorRT; there the histogram is of absolute values.
    """
    if not histogram.any():
        return low, high
    counts = histogram.astype(np.float64)
    centres = low + (np.arange(_BINS) + 0.5) * (high - low) / _BINS
    losses = [_divergence(counts, centres, low * share, high * share) for share in _SHARES]
    best = float(_SHARES[-1 - int(np.argmin(losses[::-1]))])  # of equal ones the widest
    return low * best, high * best


def _least_error(histogram: NDArray[np.int64], low: float, high: float) -> Range:
    """The part of the range, cut at both ends alike, that leaves the least mean squared error."""
    centres = low + (np.arange(_BINS) + 0.5) * (high - low) / _BINS

    def error(share: float) -> float:
        rounding = (share * (high - low) / (_LEVELS - 1)) ** 2 / 12
        clipping = np.square(centres - centres.clip(low * share, high * share))
        return float((histogram * (clipping + rounding)).sum())

    best = float(min(_SHARES[::-1], key=error))
    return low * best, high * best


def _divergence(counts: NDArray[np.float64], centres: NDArray[np.float64], low: float, high: float) -> float:
    """KL(P || Q) of the clipped values and of what is left of those inside when each level spreads evenly."""
    inside = (centres >= low) & (centres <= high)
    first, last = int(np.argmax(inside)), _BINS - int(np.argmax(inside[::-1]))
    inner = counts[first:last]
    clipped = inner.copy()
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last:].sum()
    level = np.arange(len(inner)) * _LEVELS // len(inner)
    used = inner > 0
    sums, members = np.bincount(level, inner), np.bincount(level, used)
    spread = np.where(used, sums[level] / np.maximum(members[level], 1), 0.0)
    p, q = clipped / clipped.sum(), spread / max(spread.sum(), 1.0)
    there = p > 0
    return float((p[there] * np.log(p[there] / np.maximum(q[there], 1e-12))).sum())


_RULES = {"percentile": _percentile, "mse": _least_error, "entropy": _least_entropy}


def _differ(one: Mapping[str, Range], other: Mapping[str, Range]) -> bool:
    """Whether any range is another by more than a hundredth."""
    return any(
        abs((one[n][1] - one[n][0]) - (other[n][1] - other[n][0])) > 0.01 * (other[n][1] - other[n][0]) for n in one
    )
