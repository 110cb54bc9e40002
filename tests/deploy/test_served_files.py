"""The files that servers of other makers read beside a model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from convsmith.bundle.format import Manifest, read_manifest
from convsmith.deploy.format import find_format
from convsmith.deploy.formats import kserve
from convsmith.deploy.served_names import label_lines, served_name
from convsmith.spec import WholeImage, Window
from tests.colours import bare_manifest


@pytest.fixture
def manifest(colour_bundle: Path) -> Manifest:
    return read_manifest(colour_bundle)


def added(format_name: str, manifest: Manifest, files: Mapping[str, bytes] | None = None) -> Mapping[str, bytes]:
    """What a format adds to the model's files."""
    add: Callable[..., Mapping[str, bytes]] | None = find_format(format_name).add
    assert add is not None
    return add(manifest, files or {})


def test_triton_gets_the_shapes_and_how_images_are_prepared(manifest: Manifest) -> None:
    files = added("triton", manifest.model_copy(update={"embeddings": 9}), {"colour/1/model.onnx": b""})
    preprocess = json.dumps(manifest.preprocess.model_dump_json())
    assert files["colour/labels.txt"] == b"red\ngreen\nblue\n"
    assert files["colour/config.pbtxt"].decode().splitlines() == [
        'backend: "onnxruntime"',
        "max_batch_size: 32",
        'input [ { name: "images" data_type: TYPE_UINT8 dims: [3, 8, 8] } ]',
        'output [ { name: "logits" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }, '
        '{ name: "embeddings" data_type: TYPE_FP32 dims: [9] } ]',
        "dynamic_batching { }",
        'parameters { key: "task" value: { string_value: "classification" } }',
        f'parameters {{ key: "preprocess" value: {{ string_value: {preprocess} }} }}',
        'parameters { key: "parity" value: { string_value: "{\\"max_abs_difference\\": 0.0}" } }',
        f'parameters {{ key: "convsmith" value: {{ string_value: "{version("convsmith")}" }} }}',
    ]


@pytest.mark.parametrize(("one_size", "images", "logits"), [(False, "-1, -1", "-1, -1"), (True, "16, 16", "16, 16")])
def test_triton_takes_masks_of_any_size_or_of_one(pixel_bundle: Path, one_size: bool, images: str, logits: str) -> None:
    spec = WholeImage(method="whole", window=Window(size=(16, 16), stride=(16, 16)))
    manifest = read_manifest(pixel_bundle).model_copy(update={"preprocess": spec, "one_size": one_size})
    config = added("triton", manifest, {"colour/1/model.onnx": b""})["colour/config.pbtxt"].decode()
    assert f'"images" data_type: TYPE_UINT8 dims: [3, {images}] ' in config
    assert f'"logits" data_type: TYPE_FP32 dims: [3, {logits}] ' in config


def test_openvino_s_server_computes_in_float32(manifest: Manifest) -> None:
    files = added("openvino-model-server", manifest)
    model = {"name": "colour", "base_path": "/model", "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    assert files["config.json"].decode() == json.dumps({"model_config_list": [{"config": model}]}, indent=2) + "\n"
    assert files["labels.txt"] == b"red\ngreen\nblue\n"


def test_kserve_s_container_has_no_rights_that_it_does_not_need(manifest: Manifest) -> None:
    text = added("kserve", manifest)["inferenceservice.yaml"].decode()
    assert text.startswith("# kubectl apply --filename inferenceservice.yaml\n# `image` is ")
    assert text.index("apiVersion") < text.index("kind") < text.index("metadata") < text.index("spec")
    service = yaml.safe_load(text)
    assert service == kserve.inference_service("colour")
    (container,) = service["spec"]["predictor"]["containers"]
    assert container["args"] == ["colour=/mnt/models", "--host", "0.0.0.0", "--port", "8080"]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_kserve_s_chart_makes_the_same_service_of_its_values(manifest: Manifest) -> None:
    files = added("kserve", manifest)
    values = yaml.safe_load(files["chart/values.yaml"])
    template = files["chart/templates/inferenceservice.yaml"].decode()
    places = re.findall(r"\{\{ toJson \.Values\.(\w+) \}\}", template)
    assert sorted(places) == sorted(values)  # each has a place, and no place is without one
    rendered = template.replace("{{ toJson .Release.Name }}", "colour")
    for name in places:
        rendered = rendered.replace(f"{{{{ toJson .Values.{name} }}}}", json.dumps(values[name]))
    assert yaml.safe_load(rendered) == kserve.inference_service("colour")


def test_the_schema_of_kserve_s_chart_takes_its_values(manifest: Manifest) -> None:
    files = added("kserve", manifest)
    jsonschema.validate(yaml.safe_load(files["chart/values.yaml"]), json.loads(files["chart/values.schema.json"]))


def test_ray_s_application_lies_beside_the_model(manifest: Manifest) -> None:
    program = added("ray-serve", manifest)["deployment.py"].decode()
    assert "@serve.deployment(num_replicas=2, " in program
    assert "create_app(BUNDLE, workers=1, threads=1)" in program
    assert 'ray_actor_options={"num_cpus": 1}' in program
    compile(program, "deployment.py", "exec")


def test_a_label_is_one_line() -> None:
    assert label_lines(bare_manifest(("a\nb", " c  d "))) == b"a b\nc d\n"


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("HRNet_W18.seg", "hrnet-w18-seg"),
        ("timm/vit_tiny", "timm-vit-tiny"),
        ("--", "model"),
        (None, "none"),
        ("b" + "a" * 63, "a" * 63),
        ("b-" + "a" * 62, "a" * 62),
    ],
)
def test_a_served_name_ends_with_63_letters_and_digits_of_the_model_s(architecture: str | None, name: str) -> None:
    assert served_name(bare_manifest((), model={"name": architecture})) == name


FLAGS = ("other_ties", "needs_model", "is_code", "embeddings")
"""What is true or not of a format; those below are the others than usual ones of each."""


@pytest.mark.parametrize(
    ("name", "extra", "device", "unusual"),
    [
        ("aotinductor", "export", "cpu", {"needs_model", "is_code"}),
        ("coreml", "coreml", "cpu", {"needs_model", "embeddings"}),
        ("executorch", "executorch", "cpu", {"needs_model", "embeddings"}),
        ("kserve", "export", "cpu", set()),
        ("litert", "litert", "cpu", {"needs_model", "embeddings"}),
        ("onnx", "export", "cpu", set()),
        ("onnx-fp16", "export", "cpu", set()),
        ("openvino", "openvino", "cpu", {"other_ties"}),
        ("openvino-model-server", "openvino", "cpu", {"other_ties"}),
        ("pt2", "export", "cpu", {"needs_model", "is_code"}),
        ("ray-serve", "export", "cpu", set()),
        ("tensorrt", "tensorrt", "cuda", {"is_code", "embeddings"}),
        ("torchscript", "export", "cpu", {"needs_model", "is_code"}),
        ("triton", "export", "cpu", set()),
        ("web", "web", "cpu", {"other_ties", "embeddings"}),
    ],
)
def test_a_format_says_what_it_needs_and_what_it_cannot(name: str, extra: str, device: str, unusual: set[Any]) -> None:
    found = find_format(name)
    assert (found.extra, found.device) == (extra, device)
    assert {flag for flag in FLAGS if getattr(found, flag) != (flag == "embeddings")} == unusual
