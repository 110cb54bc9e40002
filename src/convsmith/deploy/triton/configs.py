"""The `config.pbtxt` of each model of a Triton repository, by model_config.proto."""

from __future__ import annotations

import json
from importlib.metadata import version

from convsmith.bundle.format import Manifest
from convsmith.bundle.runtime import EMBEDDINGS, INPUT, OUTPUT
from convsmith.bundle.task import find_task
from convsmith.deploy.triton.preprocess_graph import PIXELS

_LARGEST_BATCH = 32


def model_config(manifest: Manifest) -> str:
    """Configuration of the model: batches of preprocessed images, which Triton makes of what waits.

    The images' preprocessing and the proof travel as parameters, which Triton hands to clients as they are.
    """
    parameters = {
        "task": manifest.task,
        "preprocess": manifest.preprocess.model_dump_json(),
        "parity": json.dumps(manifest.parity),
        "convsmith": version("convsmith"),
    }
    lines = [
        'backend: "onnxruntime"',
        f"max_batch_size: {_LARGEST_BATCH}",
        f"input [ {_images(manifest)} ]",
        f"output [ {', '.join(_outputs(manifest))} ]",
        "dynamic_batching { }",
        *(
            f"parameters {{ key: {json.dumps(key)} value: {{ string_value: {json.dumps(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return _text(lines)


def preprocess_config(manifest: Manifest, file: str) -> str:
    """Configuration of the preprocessing, a graph in a file of that name: one image of any size at a time."""
    return _text(
        [
            'backend: "onnxruntime"',
            f'default_model_filename: "{file}"',
            "max_batch_size: 0",
            f"input [ {_pixels(manifest)} ]",
            f"output [ {_images(manifest, 1)} ]",
            "instance_group [ { kind: KIND_CPU } ]",  # where it was proved
        ]
    )


def ensemble_config(manifest: Manifest, preprocess: str, model: str) -> str:
    """Configuration of the two one after the other, by their names: pixels in, what the model says out."""
    outputs = [OUTPUT, *([EMBEDDINGS] if manifest.embeddings else [])]
    return _text(
        [
            'platform: "ensemble"',
            "max_batch_size: 0",
            f"input [ {_pixels(manifest)} ]",
            f"output [ {', '.join(_outputs(manifest, 1))} ]",
            f"ensemble_scheduling {{ step [ {_step(preprocess, PIXELS, [INPUT])}, {_step(model, INPUT, outputs)} ] }}",
        ]
    )


def _images(manifest: Manifest, *batch: int) -> str:
    size = manifest.only_size or (-1, -1)
    dims = [*batch, manifest.preprocess.bands.channels, *size]
    return f'{{ name: "{INPUT}" data_type: TYPE_UINT8 dims: {dims} }}'


def _pixels(manifest: Manifest) -> str:
    return f'{{ name: "{PIXELS}" data_type: TYPE_UINT8 dims: {[-1, -1, manifest.preprocess.bands.channels]} }}'


def _outputs(manifest: Manifest, *batch: int) -> list[str]:
    shape = find_task(manifest.task).logits_shape(len(manifest.labels), manifest.only_size or (-1, -1))
    labels = "" if batch else ' label_filename: "labels.txt"'  # an ensemble has those of its model
    found = [f'{{ name: "{OUTPUT}" data_type: TYPE_FP32 dims: {[*batch, *shape]}{labels} }}']
    if manifest.embeddings:
        found.append(f'{{ name: "{EMBEDDINGS}" data_type: TYPE_FP32 dims: {[*batch, manifest.embeddings]} }}')
    return found


def _step(model: str, taken: str, outputs: list[str]) -> str:
    given = " ".join(f'output_map {{ key: "{name}" value: "{name}" }}' for name in outputs)
    return f'{{ model_name: "{model}" model_version: -1 input_map {{ key: "{taken}" value: "{taken}" }} {given} }}'


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
