"""The ONNX model with an InferenceService of KServe, whose container is that of `docker/Dockerfile`.

The folder goes to the storage that STORAGE_URI names, from which KServe puts it into the container. There
`convsmith serve` answers the Open Inference Protocol, and images with the bundle's own preprocessing. A chart of Helm
makes the same service, of values that another installation may choose.
"""

from __future__ import annotations

import json
from importlib.metadata import version
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


_SCHEMA = {  # what Helm holds values against
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "image": {"type": "string"},
        "storageUri": {"type": "string"},
        "minReplicas": {"type": "integer", "minimum": 0},
        "args": {"type": "array", "items": {"type": "string"}},
        "resources": {"type": "object"},
        "global": {"type": "object"},
    },
}
_CHART_HEAD = "# helm install RELEASE chart --set image=REGISTRY/convsmith --set storageUri=s3://BUCKET/FOLDER\n"


def _add(manifest: Manifest, files: Files) -> Files:  # noqa: ARG001  # the container finds them
    name = served_name(manifest)
    return {"inferenceservice.yaml": _HEAD.encode() + _yaml(inference_service(name)), **_chart(name)}


def _chart(name: str) -> Files:
    """A chart that makes the service of its values, whose template has nothing but their places."""
    service = inference_service(name)
    (container,) = service["spec"]["predictor"]["containers"]
    values = {
        "image": container["image"],
        "storageUri": container["env"][0]["value"],
        "minReplicas": service["spec"]["predictor"]["minReplicas"],
        "args": container["args"],
        "resources": container["resources"],
    }
    about = {
        "apiVersion": "v2",
        "name": name,
        "description": f"{name}, answered by convsmith serve under KServe",
        "version": "1.0.0",
        "appVersion": version("convsmith"),
    }
    service["metadata"]["name"] = "{{ toJson .Release.Name }}"
    service["spec"]["predictor"]["minReplicas"] = _place("minReplicas")
    container["env"][0]["value"] = _place("storageUri")
    container |= {key: _place(key) for key in ("image", "args", "resources")}
    template = _yaml(service).replace(b"'{{", b"{{").replace(b"}}'", b"}}")
    return {
        "chart/Chart.yaml": _yaml(about),
        "chart/values.yaml": _CHART_HEAD.encode() + _yaml(values),
        "chart/values.schema.json": (json.dumps(_SCHEMA, indent=2) + "\n").encode(),
        "chart/templates/inferenceservice.yaml": template,
    }


def _place(value: str) -> str:
    return f"{{{{ toJson .Values.{value} }}}}"  # JSON is YAML, of whatever kind the value is


def _yaml(content: dict[str, Any]) -> bytes:
    return yaml.safe_dump(content, sort_keys=False).encode()


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
        "spec": {"predictor": {"minReplicas": 1, "containers": [container]}},
    }


FORMAT = Format(
    "KServe's InferenceService on Kubernetes, answered by convsmith serve", ONNX.export, ONNX.open, add=_add
)
