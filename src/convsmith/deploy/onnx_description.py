"""Metadata of an ONNX file, for programs that read no `bundle.json`, and for old runtimes."""

from __future__ import annotations

import json
from collections.abc import Sequence

import onnx

from convsmith.spec import Preprocessing


def described(
    content: bytes,
    task: str,
    labels: Sequence[str],
    preprocess: Preprocessing,
    thresholds: Sequence[float] | None = None,
) -> bytes:
    """An ONNX file whose metadata hold `task`, and `labels`, `preprocess` and `thresholds` as JSON; others are dropped.

    Its IR version becomes the lowest that has its opset: older runtimes refuse a later one, though they have the opset.
    The normalisation of `preprocess` is inside the graph, so that what is left to do is to read, resize and crop.

    Args:
        content: the ONNX file.
        task: what the model does.
        labels: class names in the order of the logits.
        preprocess: how an image becomes the model's input.
        thresholds: the probability of each class from which on it is there; None: nothing is said of it.
    """
    model = onnx.load_from_string(content)
    values = {"task": task, "labels": json.dumps(list(labels)), "preprocess": preprocess.model_dump_json()}
    if thresholds is not None:
        values["thresholds"] = json.dumps(list(thresholds))
    onnx.helper.set_model_props(model, values)
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    return bytes(model.SerializeToString(deterministic=True))
