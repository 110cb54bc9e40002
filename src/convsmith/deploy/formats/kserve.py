"""The ONNX model with an InferenceService of KServe, whose container is that of `docker/Dockerfile`.

The folder goes to the storage that STORAGE_URI names, from which KServe puts it into the container. There
`convsmith serve` answers the Open Inference Protocol, and images with the bundle's own preprocessing.
"""

from __future__ import annotations

from typing import Any

import yaml

from convsmith.bundle.format import Manifest
from convsmith.deploy.format import Files, Format
from convsmith.deploy.formats.onnx import FORMAT as ONNX
from convsmith.deploy.served_names import served_name

_PORT = 8080
_HEAD = (
    "# kubectl apply --filename inferenceservice.yaml\n"
    "# `image` is docker/Dockerfile's, in your registry; STORAGE_URI is where this folder lies: pvc://, s3://, gs://, hf://\n"
)


def _add(manifest: Manifest, files: Files) -> Files:  # noqa: ARG001  # the container finds them
    text = yaml.safe_dump(inference_service(served_name(manifest)), sort_keys=False)
    return {"inferenceservice.yaml": (_HEAD + text).encode()}


def inference_service(name: str) -> dict[str, Any]:
    """An InferenceService that answers with the folder as the model of that name."""
    container = {
        "name": "kserve-container",
        "image": "convsmith",
        "args": [f"{name}=/mnt/models", "--host", "0.0.0.0", "--port", str(_PORT)],
        "env": [{"name": "STORAGE_URI", "value": f"pvc://models/{name}"}],
        "ports": [{"containerPort": _PORT, "protocol": "TCP"}],
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": _PORT}},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": _PORT}},
        "resources": {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "securityContext": {
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {"predictor": {"containers": [container]}},
    }


FORMAT = Format(
    "KServe's InferenceService on Kubernetes, answered by convsmith serve", ONNX.export, ONNX.open, add=_add
)
