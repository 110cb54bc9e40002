r"""OpenVINO's files as one model of OpenVINO Model Server, whose configuration keeps them in float32.

    docker run --publish 9000:9000 --volume OUT:/model:ro openvino/model_server \
        --config_path /model/config.json --port 9000
"""

from __future__ import annotations

import json

from convsmith.bundle.format import Manifest
from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.runtime import Runtime
from convsmith.deploy.format import Exportable, Files, Format
from convsmith.deploy.formats.openvino import FORMAT as OPENVINO
from convsmith.deploy.served_names import label_lines, served_name

_VERSION = "1/"


def _export(source: Exportable) -> Files:
    return {f"{_VERSION}{name}": content for name, content in OPENVINO.export(source).items()}


def _open(files: Files, threads: int | None) -> Runtime:
    return OpenVinoRuntime(files[f"{_VERSION}model.xml"], files[f"{_VERSION}model.bin"], threads)


def _add(manifest: Manifest, files: Files) -> Files:  # noqa: ARG001  # the server finds them
    model = {
        "name": served_name(manifest),
        "base_path": "/model",
        "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"},  # else bfloat16 on new processors, which was not proved
    }
    config = json.dumps({"model_config_list": [{"config": model}]}, indent=2)
    return {"config.json": f"{config}\n".encode(), "labels.txt": label_lines(manifest)}


FORMAT = Format("a model of OpenVINO Model Server", _export, _open, extra="openvino", other_ties=True, add=_add)
