"""Static INT8: ranges measured on images, and layers that suffer from it kept in float until little is lost."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import onnx
import onnxruntime

from convsmith.bundle.format import Manifest
from convsmith.bundle.runtime import Infer
from convsmith.deploy.calibration import calibrate
from convsmith.deploy.graph import Graph
from convsmith.deploy.judging import InMemory, Labelled, judge
from convsmith.deploy.labelled import LabelledImages
from convsmith.deploy.qdq import Range, insert_qdq, place
from convsmith.deploy.trial import Outcome, Verdict, compare, joined, run_all
from convsmith.errors import ConvsmithError, counted
from convsmith.processor import Target, largest_weight, native_target
from convsmith.progress import ProgressCallback, no_progress

_RANKING_PIXELS = 64 * 224 * 224  # by which the rules are ranked: of so many images the noise is that of all
_SENSITIVITY_PIXELS = 8 * 224 * 224  # by which the layers are ranked; one after another, so few
_CALIBRATION_BATCH = 8  # the values of many tensors are alive at a time
_KERNELS = {
    "Conv": {"QLinearConv"},
    "Gemm": {"QGemm"},
    "MatMul": {"QLinearMatMul", "MatMulIntegerToFloat", "MatMulInteger"},
}


class NoInt8(ConvsmithError):
    """A model has no INT8 form that is as good as it."""


@dataclass(frozen=True)
class FloatLayer:
    """A layer that stayed as it was, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Int8:
    """An INT8 model and how it came to be.

    Attributes:
        content: the ONNX file.
        target: the processors that it is for.
        rule: how ranges were chosen: `minmax`, `percentile`, `mse` or `entropy`.
        float_layers: the layers that do not compute on integers.
        tried: how far each rule is from the float model on the first of the images held out of calibration.
        verdict: the same of the result on all of them.
        any_x86: likewise of the form for any x86, where that lost too much and the one for this processor did not.
        calibration_images, held_out_images: how many were read.
    """

    content: bytes
    target: Target
    rule: str
    float_layers: tuple[FloatLayer, ...]
    tried: dict[str, Verdict]
    verdict: Verdict
    calibration_images: int
    held_out_images: int
    any_x86: Verdict | None = None


def quantize_static(
    manifest: Manifest,
    content: bytes,
    calibration: LabelledImages,
    held_out: Sequence[Labelled],
    *,
    max_drop: float,
    progress: ProgressCallback,
    target: Target | None = None,
) -> Int8:
    """The INT8 form of a float model that loses at most `max_drop` points on `held_out`.

    Args:
        manifest: of the float model's bundle.
        content: the float ONNX model.
        calibration: images whose activations give the ranges.
        held_out: other images, by which rule and layers are chosen.
        max_drop: points of `metric_of`.
        progress: called with what is done.
        target: which processors it is for; None: any x86, or only those like this one where that form loses more than
            `max_drop` and theirs does not.

    Raises:
        ConvsmithError: more is lost, whatever stays in float, or onnxruntime has no integer kernel for a layer.
    """
    graph = Graph.load(content)
    everything = place(graph)
    calibrated = 0

    def feed(infer: Infer) -> None:
        nonlocal calibrated
        for heard in judge(manifest, [infer], calibration, _CALIBRATION_BATCH, what="calibrate", progress=progress):
            heard.require_answers()
            calibrated += len(heard.targets)

    rules = calibrate(graph, everything.rounded, feed)  # where a layer stays in float, moved ones need their own too
    first = first_of(held_out, _RANKING_PIXELS)
    rest = held_out[len(first) :]

    def with_rest(outcome: Outcome, model: bytes, what: str) -> Outcome:
        return joined(outcome, run_all(manifest, model, InMemory(rest), progress, what)) if rest else outcome

    exact_first = run_all(manifest, content, InMemory(first), progress, "float on held-out images")
    exact = with_rest(exact_first, content, "float on further held-out images")

    def all_layers(aim: Target) -> Int8:
        models = {rule: insert_qdq(graph, everything, ranges, largest_weight(aim)) for rule, ranges in rules.items()}
        said = {
            rule: run_all(manifest, model, InMemory(first), progress, f"{aim} INT8 by {rule}")
            for rule, model in models.items()
        }
        tried = {rule: compare(manifest, exact_first, outcome) for rule, outcome in said.items()}
        judged: dict[str, Verdict] = {}
        for rule in sorted(tried, key=lambda name: -tried[name].snr_db):
            outcome = with_rest(said[rule], models[rule], f"{aim} INT8 by {rule}, further images")
            judged[rule] = compare(manifest, exact, outcome)
            if judged[rule].drop <= max_drop:
                break
        rule = min(judged, key=lambda name: max(judged[name].drop - max_drop, 0.0))
        return Int8(models[rule], aim, rule, (), tried, judged[rule], calibrated, exact.images)

    made = all_layers(target or "any-x86")
    native = native_target() if target is None else None
    if made.verdict.drop > max_drop and native is not None:
        other = all_layers(native)
        if other.verdict.drop <= max_drop:
            made = replace(other, any_x86=made.verdict)
    if made.verdict.drop > max_drop:
        largest = largest_weight(made.target)
        search = _Search(manifest, graph, rules[made.rule], largest, held_out, exact, max_drop, progress)
        content, verdict, kept = search.float_layers(made.verdict)
        made = replace(made, content=content, verdict=verdict, float_layers=kept)
    check_kernels(made.content, _integer_nodes(graph, [layer.name for layer in made.float_layers]))
    return made


@dataclass(frozen=True)
class _Search:
    manifest: Manifest
    graph: Graph
    ranges: dict[str, Range]
    largest: int
    held_out: Sequence[Labelled]
    exact: Outcome
    max_drop: float
    progress: ProgressCallback

    @cached_property
    def layers(self) -> list[str]:
        """Names of those with weights."""
        return [node.name for node in self.graph.weighted()]

    def float_layers(self, verdict: Verdict) -> tuple[bytes, Verdict, tuple[FloatLayer, ...]]:
        """The fewest of the most sensitive layers that will do."""
        harm = self._signal_to_noise()
        order = sorted(self.layers, key=lambda name: harm[name])
        passed: dict[int, tuple[bytes, Verdict]] = {}
        failed, count = 0, 1
        while not passed and failed < count < len(order):
            model, verdict = self._try(order[:count])
            if verdict.drop <= self.max_drop:
                passed[count] = model, verdict
            else:
                failed, count = count, min(2 * count, len(order) - 1)
        if not passed:
            raise NoInt8(
                f"no INT8 form of this model loses less than {self.max_drop:g} points",
                f"with {failed} of its {len(order)} layers in float it still loses {verdict.drop:.2f} on "
                f"{len(self.held_out)} images held out of calibration",
                "Nothing was written. Allow more with --max-drop, give more images with --images, or train with "
                "quantization_aware.",
            )
        while count - failed > 1:
            middle = (count + failed) // 2
            model, verdict = self._try(order[:middle])
            if verdict.drop <= self.max_drop:
                count, passed[middle] = middle, (model, verdict)
            else:
                failed = middle
        model, verdict = passed[count]
        why = "alone in INT8 it leaves the logits {:.1f} dB above the noise"
        return model, verdict, tuple(FloatLayer(name, why.format(harm[name])) for name in order[:count])

    def _try(self, kept: Collection[str]) -> tuple[bytes, Verdict]:
        model = insert_qdq(self.graph, place(self.graph, kept), self.ranges, self.largest)
        what = f"INT8 with {counted(len(kept), 'layer')} in float"
        outcome = run_all(self.manifest, model, InMemory(self.held_out), self.progress, what)
        return model, compare(self.manifest, self.exact, outcome)

    def _signal_to_noise(self) -> dict[str, float]:
        """Signal-to-noise of the logits, with each layer alone in INT8."""
        some = InMemory(first_of(self.held_out, _SENSITIVITY_PIXELS))
        exact = run_all(self.manifest, self.graph.model.SerializeToString(), some, no_progress, "")
        found = {}
        for number, name in enumerate(self.layers):
            others = [layer for layer in self.layers if layer != name]
            model = insert_qdq(self.graph, place(self.graph, others), self.ranges, self.largest)
            found[name] = compare(self.manifest, exact, run_all(self.manifest, model, some, no_progress, "")).snr_db
            self.progress("how much each layer suffers", number + 1, len(self.layers))
        return found


def first_of(images: Sequence[Labelled], pixels: int) -> Sequence[Labelled]:
    """The first of some images of the first one's size, as many as have so many pixels; two at least."""
    _, height, width = images[0][0].shape
    return images[: max(2, pixels // (height * width))]


def _integer_nodes(graph: Graph, kept: Collection[str]) -> Counter[str]:
    """How many nodes with weights are meant to compute on integers, by their operator."""
    return Counter(node.op_type for node in graph.weighted() if node.name not in kept)


def check_kernels(content: bytes, wanted: Counter[str]) -> None:
    """Raise a ConvsmithError unless onnxruntime has made integer kernels of the nodes that are meant, and of no others.

    Args:
        content: an ONNX model with QuantizeLinear and DequantizeLinear.
        wanted: how many, by the float operator: `Conv`, `Gemm`, `MatMul`.
    """
    found = kernels(content)
    for operator, count in wanted.items():
        made = sum(found[kernel] for kernel in _KERNELS[operator])
        if made != count:
            raise NoInt8(
                f"onnxruntime {onnxruntime.__version__} computes {made} {operator} nodes on integers, not {count}",
                "it does not see which are meant to be INT8",
                "Nothing was written. Please report this with the recipe.",
            )


def kernels(content: bytes) -> Counter[str]:
    """The operators that onnxruntime runs for a model on this machine, after all its optimizations."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "optimized.onnx"
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(file)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return Counter(node.op_type for node in onnx.load(file).graph.node)
