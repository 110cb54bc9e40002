"""How much an ONNX model computes, and how much memory that takes, before any of it is computed.

A few kB can multiply matrices for days, or fill any memory. So a model of a stranger is weighed against what models for
images of that size need at most, with much to spare.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping

from convsmith import machine
from convsmith.bundle.onnx_content import Graph, Node, check_onnx, constants_of
from convsmith.bundle.onnx_sizes import Size, Sizes
from convsmith.errors import ConvsmithError
from convsmith.variables import number_in

LIMIT_VARIABLE = "CONVSMITH_MODEL_LIMIT"

# Multiply-adds. The largest published models take up to 1e7 for each pixel of small images (EVA giant), and 9e5 for
# those of large ones (HRNet-W18 small with UPerNet).
_WORK, _WORK_OF_A_PIXEL, _WORK_OF_ANY_PIXEL = 2e11, 2e7, 4e6
_SMALL = 2**19  # pixels: 724 x 724
# For constants, which exporters compute themselves: what is left unpacks the numbers of the file.
_CONSTANT_WORK, _CONSTANT_WORK_OF_A_BYTE = 1e9, 200.0
# For what is computed and still needed. HRNet-W48 with OCR takes 800 bytes for each pixel, UPerNet 1,800.
_BYTES, _BYTES_OF_A_PIXEL, _BYTES_OF_A_BYTE = 2**30, 2**12, 4
_SHARE = 0.75  # of this machine's memory, at most

_USUAL = (3, 64, 64)  # channels, height and width where a model leaves them open
_LARGER = 2  # times as many pixels, to be weighed again
_AS_LONG = 16  # multiply-adds that take as long as an operation on a single number, such as erf
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3, "FusedConv": 1, "DeformConv": 1}  # input of weights
_PRODUCTS = ("MatMul", "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_GEMMS = ("Gemm", "FusedGemm", "FusedMatMul", "QGemm")  # whose first input may be transposed
_POOLS = ("MaxPool", "AveragePool", "LpPool", "NhwcMaxPool", "QLinearAveragePool")
_SAMPLINGS, _CUBIC = {"linear": 4, "bilinear": 4, "nearest": 12}, 64  # times as long as erf, as GridSample is measured
# What onnxruntime makes of several operations when it optimizes a model, as far as images need it.
_ATTENTIONS = ("Attention", "MultiHeadAttention", "QAttention")
_ONE_BY_ONE = {"Gelu", "BiasGelu", "FastGelu", "QuickGelu", "BiasAdd", "SkipLayerNormalization"}
_ONE_BY_ONE |= {"QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", "QLinearConcat"}
_ONE_BY_ONE |= {"QLinearGlobalAveragePool", "QuantizeLinear", "DequantizeLinear"}
# Each number of a result may depend on each of an input, and on more than that.
_OF_PAIRS = {"NonMaxSuppression", "RNN", "GRU", "LSTM", "DFT", "STFT", "TfIdfVectorizer", "Multinomial", "RoiAlign"}
_OF_PAIRS |= {"MaxRoiPool", "MelWeightMatrix", "Unique"}
_OWN_DOMAINS = ("", "ai.onnx")


class Work:
    """Weighs a model, before it is opened and before it runs on more pixels than before.

    Args:
        model: an ONNX model.

    Raises:
        ConvsmithError: it does more than compute, or computes far more than models of images do.
    """

    def __init__(self, model: bytes) -> None:
        self._file, self._weighed = len(model), (0, 0)
        self._graph = check_onnx(model)
        self._sizes = Sizes(model, self._graph)
        declared = self._sizes.images[1:]
        if len(declared) != len(_USUAL):
            raise ValueError("its input is not of images [N, C, H, W]")
        channels, height, width = (side or usual for side, usual in zip(declared, _USUAL, strict=True))
        self.check((1, channels, height, width))

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ConvsmithError if it computes far more than images of a shape [N, C, H, W] need."""
        pixels = math.prod(shape), math.prod(shape[1:])  # of one image too: a model may compare each with each other
        if all(now <= _LARGER * before for now, before in zip(pixels, self._weighed, strict=True)):
            return
        if not (factor := limit_factor()):
            return
        count, each = shape[0], shape[2] * shape[3]
        most_work = _WORK + count * (_WORK_OF_A_PIXEL * min(each, _SMALL) + _WORK_OF_ANY_PIXEL * each)
        most_bytes = _BYTES + count * each * _BYTES_OF_A_PIXEL + _BYTES_OF_A_BYTE * self._file
        sizes, constants = self._sizes.of(shape), constants_of(self._graph)
        of_constants = sum(_work(node, sizes) for node in self._graph.nodes if constants.issuperset(node.outputs))
        work = sum(_work(node, sizes) for node in self._graph.nodes)
        memory = _most_bytes(self._graph, sizes, constants)
        if of_constants > factor * (_CONSTANT_WORK + _CONSTANT_WORK_OF_A_BYTE * self._file):
            raise too_much(f"it would compute {of_constants:.1e} multiply-adds of constants, before any image")
        if work > factor * most_work:
            raise too_much(f"it computes {work:.1e} multiply-adds for {count * each:,} pixels")
        if memory > factor * min(most_bytes, _SHARE * machine.memory()):
            raise too_much(f"it takes {memory / 2**30:,.1f} GiB for {count * each:,} pixels")
        self._weighed = max(pixels[0], self._weighed[0]), max(pixels[1], self._weighed[1])


def check_model(model: bytes) -> None:
    """Raise a ConvsmithError if a model that is not to be run by `OnnxRuntime` does more than compute, or too much."""
    try:
        Work(model)
    except ConvsmithError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise ConvsmithError("onnxruntime cannot load the model", str(error)) from error


def too_much(why: str) -> ConvsmithError:
    """The error for a model that would compute for too long, or take too much memory."""
    return ConvsmithError(
        "the model needs far more than models of images do",
        why,
        f"If you trust whoever made it, set {LIMIT_VARIABLE} to how many times more it may take, or to 0.",
    )


def limit_factor() -> float:
    """How many times more than usual a model may take; 0: without a limit."""
    return number_in(
        LIMIT_VARIABLE,
        os.environ.get(LIMIT_VARIABLE, "1"),
        below=math.inf,
        says="how many times more than usual a model may compute",
        fix="Set a number; 0 is without a limit.",
    )


def _most_bytes(graph: Graph, sizes: Mapping[str, Size], constants: Collection[str]) -> int:
    """The most that is there at a time, of what is computed."""
    last = {name: number for number, node in enumerate(graph.nodes) for name in (*node.outputs, *node.inputs)}
    now = most = 0
    for number, node in enumerate(graph.nodes):
        now += sum(sizes[name].bytes for name in node.outputs if name)
        most = max(most, now + _scratch(node, sizes))
        over = {name for name in (*node.inputs, *node.outputs) if last[name] == number and name not in constants}
        now -= sum(sizes[name].bytes for name in over if name in sizes)
    return most


def _scratch(node: Node, sizes: Mapping[str, Size]) -> int:
    """Bytes that an operation takes for itself: a convolution of integers, the numbers below the kernel, everywhere."""
    given = [sizes.get(name) for name in node.inputs]
    first, made = _shape(given, 0), [sizes[name] for name in node.outputs if name]
    if node.operator in _CONVOLUTIONS and made and len(made[0].shape) > 1:
        positions = math.prod(made[0].shape[2:])
        return positions * math.prod(_shape(given, _CONVOLUTIONS[node.operator])[1:])
    if node.operator == "ConvTranspose":
        return 4 * math.prod(first[2:]) * math.prod(_shape(given, 1)[1:])
    if node.operator == "LRN":  # the squares of one image, and as many channels more
        return 4 * math.prod(first[2:]) * (math.prod(first[1:2]) + math.prod(node.numbers.get("size", ())))
    if node.operator == "RoiAlign" and made:  # four places of each sample, and how much each counts
        return 48 * math.prod(made[0].shape[2:]) * math.prod(node.numbers.get("sampling_ratio", ())) ** 2
    if "Attention" in node.operator:  # each head compares each position with each other one
        heads = math.prod(node.numbers.get("q_num_heads", node.numbers.get("num_heads", ())))
        return 4 * heads * math.prod(first[:-1]) * _positions(given)
    if node.operator == "Einsum" and len(given) > 2:
        return 4 * int(_sums(node.texts.get("equation", ""), given))
    return 0


def _work(node: Node, sizes: Mapping[str, Size]) -> float:
    """Multiply-adds, or what takes as long, of an operation."""
    given = [sizes.get(name) for name in node.inputs]
    there = [size.numel for size in given if size is not None]
    made = sum(sizes[name].numel for name in node.outputs if name)
    return max(_products(node, given, made), _AS_LONG * (sum(there) + made))


def _products(node: Node, given: list[Size | None], made: int) -> float:
    """Products that an operation makes of the numbers of its inputs; 0 where it takes them one by one."""
    operator, first = node.operator, _shape(given, 0)
    if operator in _CONVOLUTIONS:
        return made * math.prod(_shape(given, _CONVOLUTIONS[operator])[1:])
    if operator == "ConvTranspose":
        return math.prod(first) * math.prod(_shape(given, 1)[1:])
    if operator in _PRODUCTS:
        return made * math.prod(first[-1:])
    if operator in _GEMMS:
        return made * max(first, default=1)
    if operator in _POOLS:
        return made * math.prod(node.numbers.get("kernel_shape", ()))
    if operator == "LRN":
        return made * math.prod(node.numbers.get("size", ()))
    if operator == "GridSample":
        return made * _AS_LONG * _SAMPLINGS.get(node.texts.get("mode", "linear"), _CUBIC)
    if operator == "Det":
        return math.prod(first) * math.prod(first[-1:])
    if operator == "Einsum":
        return _sums(node.texts.get("equation", ""), given)
    if operator in _ATTENTIONS:  # what follows the first three is a mask, or from before
        widest = max((side for size in given[:3] if size is not None for side in size.shape[-1:]), default=1)
        return math.prod(first[:-1]) * widest * (2 * _positions(given) + math.prod(first[-1:]))
    if operator in _OF_PAIRS or (node.domain not in _OWN_DOMAINS and operator not in _ONE_BY_ONE):
        each = sorted([made, *(size.numel for size in given if size is not None)])
        return math.prod(each[-2:]) * math.prod(node.numbers.get("sampling_ratio", ())) ** 2
    return 0


def _positions(given: list[Size | None]) -> int:
    """The most positions that attention compares: they lie between batch and numbers."""
    return max((side for size in given if size is not None for side in size.shape[1:-1]), default=1)


def _sums(equation: str, given: list[Size | None]) -> float:
    """Products of an Einsum: as many as its letters, and what each ellipsis stands for, have positions."""
    sides: dict[str, int] = {}
    for term, size in zip(equation.replace(" ", "").partition("->")[0].split(","), given, strict=False):
        shape = list(size.shape) if size is not None else []
        letters = list(term.replace("...", ""))
        before = len(term.partition("...")[0]) if "..." in term else len(shape)
        hidden = len(shape) - len(letters)
        for number, side in enumerate(shape[before : before + hidden]):
            sides[f"...{number - hidden}"] = max(side, sides.get(f"...{number - hidden}", 1))
        del shape[before : before + hidden]
        for letter, side in zip(letters, shape, strict=False):
            sides[letter] = max(side, sides.get(letter, 1))
    return math.prod(sides.values())


def _shape(given: list[Size | None], number: int) -> tuple[int, ...]:
    size = given[number] if number < len(given) else None
    return size.shape if size is not None else ()
