"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from convsmith.bundle.predictor import load
from convsmith.serve.app import create_app
from convsmith.serve.grpc_messages import METHODS, SERVICE, messages
from convsmith.serve.request_record import RequestRecord
from tests.colours import picture
from tests.serve.running import PATIENCE, post, served, served_by_command
from tests.serve.test_serve_command import run

grpc = pytest.importorskip("grpc")

Ask = Callable[..., Any]
TOKEN = "a-token-of-some-length"


@contextmanager
def served_by_grpc(bundle: Path, **changes: Any) -> Iterator[str]:
    """The address of a server that answers gRPC."""
    app = create_app(bundle, grpc="127.0.0.1:0", **changes)
    with served(app):
        yield f"127.0.0.1:{app.state.service.grpc_port}"


@contextmanager
def asking(address: str, **metadata: str) -> Iterator[Ask]:
    """A function that asks a method with the fields of its request."""
    with grpc.insecure_channel(address) as channel:

        def ask(method: str, **fields: Any) -> Any:
            call = channel.unary_unary(
                f"/{SERVICE}/{method}",
                request_serializer=messages()[f"{method}Request"].SerializeToString,
                response_deserializer=messages()[f"{method}Response"].FromString,
            )
            return call(messages()[f"{method}Request"](**fields), timeout=PATIENCE, metadata=list(metadata.items()))

        yield ask


@pytest.fixture(scope="module")
def ask(colour_bundle: Path) -> Iterator[Ask]:
    with served_by_grpc(colour_bundle, max_bytes=100_000) as address, asking(address) as ask:
        yield ask


def files(*contents: bytes) -> dict[str, Any]:
    about = {"name": "files", "datatype": "BYTES", "shape": [len(contents)]}
    return {"model_name": "model", "inputs": [{**about, "contents": {"bytes_contents": contents}}]}


def test_the_server_and_the_model_describe_themselves(ask: Ask) -> None:
    assert ask("ServerLive").live
    assert ask("ServerReady").ready
    assert ask("ServerMetadata").name == "convsmith"
    assert [ask("ModelReady", name=name).ready for name in ("model", "none")] == [True, False]
    about = ask("ModelMetadata", name="model")
    assert [(it.name, it.datatype, list(it.shape)) for it in about.inputs] == [
        ("images", "UINT8", [-1, 3, 8, 8]),
        ("files", "BYTES", [-1]),
    ]
    (entry,) = ask("RepositoryIndex").models
    assert (entry.name, entry.version, entry.state) == ("model", "1", "READY")


def test_files_get_answers_with_their_contents_in_fields(ask: Ask) -> None:
    answer = ask("ModelInfer", **files(picture("blue"), picture("red")), id="7")
    found = {it.name: it.contents for it in answer.outputs}
    assert (answer.id, answer.model_name, answer.model_version) == ("7", "model", "1")
    assert list(found["label"].bytes_contents) == [b"blue", b"red"]
    assert list(found["class_id"].int64_contents) == [2, 0]
    assert [json.loads(it)["label"] for it in found["answer"].bytes_contents] == ["blue", "red"]


def test_raw_images_get_raw_logits(ask: Ask, colour_bundle: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8), np.uint8)
    about = {"name": "images", "datatype": "UINT8", "shape": pixels.shape}
    fields = {"model_name": "model", "inputs": [about], "outputs": [{"name": "logits"}]}
    answer = ask("ModelInfer", **fields, raw_input_contents=[pixels.tobytes()])
    (content,) = answer.raw_output_contents
    assert list(answer.outputs[0].shape) == [2, 3]
    assert np.array_equal(np.frombuffer(content, np.float32).reshape(2, 3), load(colour_bundle).logits(pixels))


@pytest.mark.parametrize(
    ("method", "fields", "code", "reason"),
    [
        ("ModelInfer", {**files(picture("red")), "model_name": "none"}, "NOT_FOUND", "no model `none`"),
        ("ModelInfer", files(b"hello"), "INVALID_ARGUMENT", "cannot read"),
        ("ModelInfer", {"model_name": "model"}, "INVALID_ARGUMENT", "there are 0 inputs"),
        ("ModelInfer", {**files(b"x"), "raw_input_contents": [b"", b""]}, "INVALID_ARGUMENT", "2 raw contents"),
        ("ModelInfer", files(bytes(300_000)), "RESOURCE_EXHAUSTED", "larger than max"),
        ("ModelMetadata", {"name": "model", "version": "9"}, "NOT_FOUND", "no version 9"),
        ("RepositoryModelUnload", {"model_name": "model"}, "PERMISSION_DENIED", "--control"),
    ],
)
def test_what_does_not_fit_is_told_by_a_code(
    ask: Ask, method: str, fields: dict[str, Any], code: str, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(method, **fields)
    assert caught.value.code().name == code
    assert reason in caught.value.details()


def test_a_model_is_unloaded_and_loaded_by_the_fields_of_triton_and_of_kserve(colour_bundle: Path) -> None:
    with served_by_grpc(colour_bundle, control=True) as address, asking(address) as ask:
        for fields in ({"model_name": "model"}, {"repository_name": "model"}):  # KServe's name is the first field
            assert ask("RepositoryModelUnload", **fields).isUnloaded
            assert not ask("ModelReady", name="model").ready
            assert ask("RepositoryModelLoad", **fields).isLoaded
            assert ask("ModelReady", name="model").ready


def test_tokens_count_for_grpc_too(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    with served_by_grpc(colour_bundle, token_file=tmp_path / "tokens") as address:
        with asking(address) as ask, pytest.raises(grpc.RpcError) as caught:
            ask("ServerLive")
        assert caught.value.code().name == "UNAUTHENTICATED"
        with asking(address, authorization=f"Bearer {TOKEN}") as ask:
            assert ask("ServerLive").live


def test_a_client_that_asks_too_often_is_told(colour_bundle: Path) -> None:
    with served_by_grpc(colour_bundle, rate="1/h") as address, asking(address) as ask:
        assert ask("ServerLive").live
        with pytest.raises(grpc.RpcError) as caught:
            ask("ServerLive")
        assert caught.value.code().name == "RESOURCE_EXHAUSTED"


def test_the_command_answers_both_protocols(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--grpc-port", "0") as (process, url):
        assert process.stdout
        process.stdout.readline()
        port = process.stdout.readline().rstrip(".\n").rpartition(" ")[2]
        with asking(f"127.0.0.1:{port}") as ask:
            assert ask("ModelInfer", **files(picture("red"))).outputs
        assert post(url, picture("red")).json()["label"] == "red"


def test_a_port_of_grpc_that_is_taken_is_an_error(colour_bundle: Path) -> None:
    with served_by_grpc(colour_bundle) as address:
        result = run(colour_bundle, "--port", "0", "--grpc-port", address.rpartition(":")[2])
    assert result.returncode == 2
    assert "cannot listen on" in result.stderr


@pytest.mark.parametrize("words", [("--grpc-port", "0"), ("--control",)])
def test_what_is_not_for_several_processes_is_an_error(colour_bundle: Path, words: tuple[str, ...]) -> None:
    result = run(colour_bundle, "--processes", "2", *words)
    assert result.returncode == 2
    assert "each process would" in result.stderr


def test_several_processes_answer_at_one_port_of_grpc(colour_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ("--processes", "2", "--grpc-port", str(port), "--threads", "1", "--workers", "1")
    with served_by_command(colour_bundle, *words) as (process, _):
        try:
            with asking(f"127.0.0.1:{port}") as ask:
                assert ask("ModelInfer", **files(picture("red"))).outputs
        finally:
            process.terminate()
            process.wait(PATIENCE)


def test_every_method_has_its_messages() -> None:
    assert {f"{name}{kind}" for name in METHODS for kind in ("Request", "Response")} <= messages().keys()


def test_calls_are_recorded_for_the_access_log_and_the_metrics(colour_bundle: Path) -> None:
    app, records = create_app(colour_bundle, grpc="127.0.0.1:0"), list[RequestRecord]()
    app.state.record_watchers.append(records.append)  # beside that of the access log
    with served(app) as (_, url):
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        address = f"127.0.0.1:{app.state.service.grpc_port}"
        with asking(address, **{"x-request-id": "mine", "traceparent": trace}) as ask:
            ask("ModelInfer", **files(picture("red")))
            with pytest.raises(grpc.RpcError):
                ask("ModelInfer", **{**files(picture("red")), "model_name": "none"})
        shown = httpx.get(f"{url}/metrics").text
    path = "/inference.GRPCInferenceService/ModelInfer"
    answered, refused, _ = records
    assert [(it.path, it.status, it.id, it.client) for it in (answered, refused)] == [
        (path, 200, "mine", "127.0.0.1"),
        (path, 404, "mine", "127.0.0.1"),
    ]
    assert answered.model
    assert (answered.model.name, len(answered.asked), answered.traceparent) == ("model", 1, trace)
    assert answered.received > len(picture("red"))
    assert answered.sent > 0
    assert f'convsmith_requests_total{{model="model",route="{path}",status="200"}} 1.0' in shown


def test_a_call_says_its_request_id(colour_bundle: Path) -> None:
    with served_by_grpc(colour_bundle) as address, grpc.insecure_channel(address) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ServerLive", response_deserializer=bytes)
        _, call = ask.with_call(b"", timeout=PATIENCE, metadata=[("x-request-id", "mine")])
        assert dict(call.initial_metadata())["x-request-id"] == "mine"
