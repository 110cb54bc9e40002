"""Exports for servers of other makers, each held against the schema or tool of that system where it is here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

import convsmith as cs
from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.bundle.format import read_manifest
from convsmith.deploy.served_names import served_name
from convsmith.serve.app import create_app
from tests.colours import picture
from tests.conftest import REPOSITORY
from tests.exports import write_colours
from tests.serve.running import post, served


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colours(tmp_path_factory.mktemp("data") / "colours")


def named(variable: str, what: str) -> Path:
    """The path that a variable of the environment holds."""
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name {what}")
    return Path(os.environ[variable])


def exported(name: str, folder: Path, bundle: Path, data: Path) -> Path:
    """What a format makes of a bundle."""
    cs.export(bundle, name, folder / "out", data)
    return folder / "out"


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory, colour_bundle: Path, data: Path) -> Path:
    return exported("kserve", tmp_path_factory.mktemp("kserve"), colour_bundle, data)


def test_kserve_gets_a_service_that_runs_convsmith_on_the_folder(kserve: Path) -> None:
    service = yaml.safe_load((kserve / "inferenceservice.yaml").read_text())
    (container,) = service["spec"]["predictor"]["containers"]
    assert service["metadata"]["name"] == served_name(read_manifest(kserve))
    assert container["args"][0] == f"{service['metadata']['name']}=/mnt/models"
    assert container["securityContext"]["runAsNonRoot"]


def test_a_folder_for_kserve_is_served(kserve: Path) -> None:
    with served(create_app({"colours": kserve})) as (_, url):
        assert post(url, picture("blue")).json()["label"] == "blue"


def test_kserve_s_own_schema_takes_the_service(kserve: Path) -> None:
    crd = yaml.safe_load(named("CONVSMITH_KSERVE_CRD", "serving.kserve.io_inferenceservices.yaml").read_text())
    (version,) = (it for it in crd["spec"]["versions"] if it["name"] == "v1beta1")
    service = yaml.safe_load((kserve / "inferenceservice.yaml").read_text())
    jsonschema.validate(service, closed(version["schema"]["openAPIV3Schema"]))


def helm(*arguments: str | Path) -> str:
    """What Helm prints."""
    command = shutil.which("helm") or pytest.skip("helm is not installed")
    return subprocess.run([command, *arguments], capture_output=True, text=True, check=True).stdout


def test_helm_finds_nothing_wrong_with_the_chart(kserve: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", kserve / "chart")


def test_helm_makes_the_service_of_the_chart(kserve: Path) -> None:
    service = yaml.safe_load((kserve / "inferenceservice.yaml").read_text())
    assert yaml.safe_load(helm("template", service["metadata"]["name"], kserve / "chart")) == service


def test_helm_puts_other_values_into_the_service(kserve: Path) -> None:
    chosen = "image=here/convsmith,storageUri=s3://there/photos,minReplicas=3"
    words = ("--set", chosen, "--set-string", "args={a=/mnt/models,--workers,2}")
    service = yaml.safe_load(helm("template", "photos", kserve / "chart", *words))
    (container,) = service["spec"]["predictor"]["containers"]
    assert service["spec"]["predictor"]["minReplicas"] == 3
    assert (container["image"], container["args"]) == ("here/convsmith", ["a=/mnt/models", "--workers", "2"])
    assert container["env"] == [{"name": "STORAGE_URI", "value": "s3://there/photos"}]


@pytest.mark.parametrize("wrong", ["args={2}", "minReplicas=many", "immage=a"])
def test_helm_refuses_values_that_the_service_does_not_take(kserve: Path, wrong: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        helm("template", "photos", kserve / "chart", "--set", wrong)
    assert wrong.partition("=")[0] in caught.value.stderr


def closed(schema: Any) -> Any:
    """The same schema, in which keys that it does not know are errors, as an API server prunes them."""
    if isinstance(schema, list):
        return [closed(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields")
    return {**inner, "additionalProperties": False} if known and "type" in schema else inner


@pytest.fixture(scope="module")
def model_server(tmp_path_factory: pytest.TempPathFactory, colour_bundle: Path, data: Path) -> Path:
    return exported("openvino-model-server", tmp_path_factory.mktemp("openvino"), colour_bundle, data)


def test_openvino_s_server_gets_a_version_and_a_configuration(model_server: Path) -> None:
    (entry,) = json.loads((model_server / "config.json").read_text())["model_config_list"]
    assert entry["config"]["name"] == served_name(read_manifest(model_server))
    assert {path.name for path in (model_server / "1").iterdir()} == {"model.xml", "model.bin"}
    assert (model_server / "labels.txt").read_text() == "red\ngreen\nblue\n"


def test_what_openvino_s_server_gets_is_judged_as_it_runs(model_server: Path, data: Path) -> None:
    assert evaluate_bundle(model_server, data).top1 == 1.0


def test_openvino_s_server_takes_the_configuration_by_its_own_schema(model_server: Path) -> None:
    source = named("CONVSMITH_OVMS_SCHEMA", "schema.cpp of OpenVINO Model Server").read_text()
    source = re.sub("^#.*$", "", source, flags=re.MULTILINE)  # what a preprocessor reads
    parts = dict(re.findall(r'(\w+) = R"\((.*?)\)"', source, re.DOTALL))
    assembled = re.search(r"MODELS_CONFIG_SCHEMA = (.*?);\n", source, re.DOTALL)
    assert assembled
    pieces = re.findall(r'R"\((.*?)\)"|(\b[A-Z_]+\b)', assembled[1], re.DOTALL)
    schema = json.loads("".join(text or parts[name] for text, name in pieces))
    jsonschema.validate(json.loads((model_server / "config.json").read_text()), schema)


READ_CONFIGS = """
import json, sys
from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
configs = {name: text_format.Parse(open(name).read(), ModelConfig()) for name in sys.argv[1:]}
found = {name: json_format.MessageToDict(it, preserving_proto_field_name=True) for name, it in configs.items()}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory, colour_bundle: Path, data: Path) -> dict[str, Any]:
    """The configuration of each model of a Triton repository, as its own schema reads it."""
    python = named("CONVSMITH_TRITON_PYTHON", "a Python with tritonclient[grpc]")
    repository = exported("triton", tmp_path_factory.mktemp("triton"), colour_bundle, data)
    names = [str(it) for it in repository.glob("*/config.pbtxt")]
    read = subprocess.run([python, "-c", READ_CONFIGS, *names], capture_output=True, text=True, check=True)
    return {Path(name).parent.name: config for name, config in json.loads(read.stdout).items()}


def test_triton_s_own_schema_takes_every_configuration(triton: dict[str, Any]) -> None:
    assert {name: config.get("backend", config.get("platform")) for name, config in triton.items()} == {
        "out": "onnxruntime",
        "out_preprocess": "onnxruntime",
        "out_pixels": "ensemble",
    }
    assert triton["out"]["max_batch_size"] == 32
    assert "dynamic_batching" in triton["out"]


def test_triton_s_ensemble_joins_tensors_of_one_shape(triton: dict[str, Any]) -> None:
    first, second = triton["out_pixels"]["ensemble_scheduling"]["step"]
    assert (first["model_name"], second["model_name"]) == ("out_preprocess", "out")
    (made,), (taken,) = triton["out_preprocess"]["output"], triton["out"]["input"]
    assert made["data_type"] == taken["data_type"] == "TYPE_UINT8"
    assert made["dims"] == ["1", *taken["dims"]]  # a batch of one
    assert triton["out_pixels"]["input"] == triton["out_preprocess"]["input"]
    assert triton["out_pixels"]["output"][0]["dims"] == ["1", *triton["out"]["output"][0]["dims"]]


@pytest.mark.parametrize(
    ("architecture", "name"),
    [("hrnet_w18_seg", "hrnet-w18-seg"), ("timm/vit_tiny", "timm-vit-tiny"), ("--", "model"), ("a" * 70, "a" * 63)],
)
def test_a_served_name_is_one_that_kubernetes_takes(colour_bundle: Path, architecture: str, name: str) -> None:
    manifest = read_manifest(colour_bundle).model_copy(update={"model": {"name": architecture}})
    assert served_name(manifest) == name
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name)


@pytest.mark.slow
def test_ray_serves_the_folder_with_two_replicas(colour_bundle: Path, data: Path, tmp_path: Path) -> None:
    python = named("CONVSMITH_RAY_PYTHON", "a Python with ray[serve] and what convsmith[serve] needs")
    cs.export(colour_bundle, "ray-serve", tmp_path / "out", data)
    source = str(REPOSITORY / "src")
    environment = {**os.environ, "PYTHONPATH": source, "RAY_AUTH_MODE": "disabled", "HOME": str(tmp_path)}
    environment["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"  # a proxy that starts slowly would be started anew
    code = (
        "import os, time, ray\nfrom ray import serve\nimport deployment\n"
        "ray.init(num_cpus=3, include_dashboard=False)\n"
        "serve.start(http_options={'host': '127.0.0.1', 'port': 18123})\n"
        "serve.run(deployment.app)\n"
        "(status,) = serve.status().applications['default'].deployments.values()\n"
        "print('ready', status.replica_states, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen(
        [python, "-c", code], cwd=tmp_path / "out", env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            line = next(line for line in process.stdout if line.startswith("ready"))
            assert "2" in line
            deadline = time.monotonic() + 60
            while httpx.get("http://127.0.0.1:18123/readyz").status_code != 200:
                assert time.monotonic() < deadline
                time.sleep(0.5)
            answers = [post("http://127.0.0.1:18123", picture("red")).json()["label"] for _ in range(20)]
            assert answers == ["red"] * 20
        finally:
            process.terminate()
