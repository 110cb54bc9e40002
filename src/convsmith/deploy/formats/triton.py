"""The ONNX model as one model of a repository of Triton, whose server runs it with onnxruntime.

`--out REPOSITORY/NAME` is the model's folder; the server is started on the repository. It passes over `bundle.json`, by
which the folder is a bundle too.
"""

from __future__ import annotations

import json
from importlib.metadata import version

from convsmith.bundle.format import MODEL, Manifest
from convsmith.bundle.runtime import EMBEDDINGS, INPUT, OUTPUT, OnnxRuntime, Runtime
from convsmith.bundle.task import find_task
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.deploy.served_names import label_lines

_FILE = f"1/{MODEL}"
_LARGEST_BATCH = 32


def _export(source: Exportable) -> Files:
    return {_FILE: source.onnx}


def _open(files: Files, threads: int | None) -> Runtime:
    return OnnxRuntime(files[_FILE], threads)


def _add(manifest: Manifest, files: Files) -> Files:  # noqa: ARG001  # Triton finds them
    return {"config.pbtxt": _config(manifest).encode(), "labels.txt": label_lines(manifest)}


def _config(manifest: Manifest) -> str:
    """The images' preprocessing and the proof travel as parameters, which Triton hands to clients as they are."""
    spec, size = manifest.preprocess, manifest.only_size or (-1, -1)
    images = [spec.bands.channels, *size]
    logits = list(find_task(manifest.task).logits_shape(len(manifest.labels), size))
    parameters = {
        "task": manifest.task,
        "preprocess": spec.model_dump_json(),
        "parity": json.dumps(manifest.parity),
        "convsmith": version("convsmith"),
    }
    outputs = [f'{{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: {logits} label_filename: "labels.txt" }}']
    if manifest.embeddings:
        outputs.append(f'{{ name: "{EMBEDDINGS}" data_type: TYPE_FP32 dims: {[manifest.embeddings]} }}')
    lines = [
        'backend: "onnxruntime"',
        f"max_batch_size: {_LARGEST_BATCH}",
        f'input [ {{ name: "{INPUT}" data_type: TYPE_UINT8 dims: {images} }} ]',
        f"output [ {', '.join(outputs)} ]",
        "dynamic_batching { }",
        *(
            f"parameters {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return "".join(f"{line}\n" for line in lines)


FORMAT = Format("a model of a Triton repository", _export, _open, add=_add)
