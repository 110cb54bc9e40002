r"""A repository of Triton: the ONNX model, and for a classifier its preprocessing with an ensemble of both.

    docker run --publish 8001:8001 --volume OUT:/models:ro nvcr.io/nvidia/tritonserver:YY.MM-py3 \
        tritonserver --model-repository /models

`--out DIR/NAME` is the repository, in which the model is called NAME, and the ensemble NAME_pixels. Triton passes over
`bundle.json`, by which the folder is a bundle too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convsmith.bundle.format import Manifest
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.deploy.served_names import label_lines
from convsmith.spec import Preprocess

_MODEL = "1/model.onnx"
_GRAPH = "preprocess.onnx"
_EMPTY = b"Triton wants a folder of a version here, and reads nothing from it.\n"


def _export(source: Exportable) -> Files:
    return {f"{source.name}/{_MODEL}": source.onnx}


def _open(files: Files, threads: int | None) -> Runtime:
    return OnnxRuntime(_ending(files, _MODEL), threads)


def _ending(files: Files, name: str) -> bytes:
    """The file whose path ends so; those of an earlier convsmith lie in no folder of the model's name."""
    return next(content for path, content in files.items() if path.endswith(name))


def _add(manifest: Manifest, files: Files) -> Files:
    from convsmith.deploy.triton.configs import ensemble_config, model_config, preprocess_config
    from convsmith.deploy.triton.preprocess_graph import preprocess_onnx

    name = next(iter(files)).partition("/")[0]
    added = {f"{name}/config.pbtxt": model_config(manifest).encode(), f"{name}/labels.txt": label_lines(manifest)}
    if not _has_graph(manifest):
        return added
    assert isinstance(manifest.preprocess, Preprocess)
    preprocess, ensemble = f"{name}_preprocess", f"{name}_pixels"
    return {
        **added,
        f"{preprocess}/1/{_GRAPH}": preprocess_onnx(manifest.preprocess),
        f"{preprocess}/config.pbtxt": preprocess_config(manifest, _GRAPH).encode(),
        f"{ensemble}/1/README.md": _EMPTY,
        f"{ensemble}/config.pbtxt": ensemble_config(manifest, preprocess, name).encode(),
    }


def _has_graph(manifest: Manifest) -> bool:
    """Whether pixels of an image become the model's input by a graph: masks take images as they are."""
    from convsmith.deploy.triton.preprocess_graph import FILTERS

    spec = manifest.preprocess
    return isinstance(spec, Preprocess) and spec.range is None and spec.interpolation in FILTERS


def _prove(files: Files, manifest: Manifest, images: Iterable[bytes]) -> dict[str, Any]:
    from convsmith.deploy.triton.prove_preprocessing import prove_preprocessing

    if not _has_graph(manifest):
        return {}
    return prove_preprocessing(_ending(files, _GRAPH), _open(files, None), manifest, images)


FORMAT = Format("a model repository of NVIDIA Triton", _export, _open, add=_add, prove=_prove)
