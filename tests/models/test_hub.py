"""Weights on the Hugging Face Hub, against a stand-in for it on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from safetensors.torch import save

from convsmith.models.registry import create_model

COMMIT = "a" * 40


class Hub:
    """The files of one model, `someone/digits`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        hub = self
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.asked.append(self.path)
                name = self.path.rpartition("/")[2]
                known = self.path.startswith("/someone/digits/resolve/") and name in files
                self.send_response(200 if known else 404)
                if known:
                    self.send_header("ETag", f'"{hashlib.sha256(files[name]).hexdigest()}"')
                    self.send_header("Content-Length", str(len(files[name])))
                else:
                    is_repo = self.path.startswith("/someone/digits/")
                    self.send_header("X-Error-Code", "EntryNotFound" if is_repo else "RepoNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(files.get(self.path.rpartition("/")[2], b""))

            def log_message(self, format: str, *words: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    state = create_model("cifar_resnet20", 5).state_dict()
    config = {
        "architecture": "test_resnet",
        "license": "cc-by-nc-4.0",
        "pretrained_cfg": {
            "input_size": [3, 64, 64], "crop_pct": 0.5, "interpolation": "bilinear", "mean": [0.1, 0.2, 0.3],
            "std": [0.5, 0.6, 0.7],
        },
    }  # fmt: skip
    hub = Hub({"model.safetensors": save(state), "config.json": json.dumps(config).encode()})
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield hub
    hub.server.shutdown()
    thread.join()
    hub.server.server_close()


def python(code: str, hub: Hub, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """huggingface_hub reads its environment when it is imported, so each look is a process of its own."""
    inherited = {name: it for name, it in os.environ.items() if name != "HF_HUB_OFFLINE"}  # another test may set it
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "no_proxy": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**inherited, **own, **environment},
    )


CREATE = """
import convsmith as cs
model = cs.create_model("cifar_resnet20", 5, weights="hf:someone/digits")
print(float(model.state_dict()["linear.weight"].abs().sum()))
"""


def test_weights_of_the_hub_are_fetched_once_and_then_used_offline(hub: Hub, tmp_path: Path) -> None:
    first = python(CREATE, hub, tmp_path)
    assert first.returncode == 0, first.stderr
    hub.asked.clear()
    again = python(CREATE, hub, tmp_path, CONVSMITH_OFFLINE="1")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert hub.asked == []


def test_fetch_says_where_they_are(hub: Hub, tmp_path: Path) -> None:
    code = "from convsmith.cli.main import main; main(['weights', 'fetch', 'hf:someone/digits'])"
    told = python(code, hub, tmp_path)
    assert told.returncode == 0, told.stderr
    assert Path(told.stdout.strip()).name == "model.safetensors"
    assert Path(told.stdout.strip()).is_relative_to(tmp_path)


def test_what_the_hub_says_of_them_is_known(hub: Hub, tmp_path: Path) -> None:
    code = (
        "from convsmith.models.weights.origin import origin_of as o; print(o('hf:someone/digits', 'timm/test_resnet'))"
    )
    told = python(code, hub, tmp_path)
    assert told.returncode == 0, told.stderr
    for words in (
        "licence='cc-by-nc-4.0'",
        "mean=(0.1, 0.2, 0.3)",
        "resize=128",
        "crop=64",
        "interpolation='bilinear'",
    ):
        assert words in told.stdout


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("hf:someone/digits", {"CONVSMITH_OFFLINE": "1"}, "the network is not to be used"),
        ("hf:someone/else", {}, "cannot be had from the Hugging Face Hub"),
        ("hf:not/a/name", {}, "cannot be had from the Hugging Face Hub"),
    ],
)
def test_what_cannot_be_had_is_an_error_of_two_lines(
    name: str, environment: dict[str, str], message: str, hub: Hub, tmp_path: Path
) -> None:
    code = f"from convsmith.cli.main import main; main(['weights', 'fetch', {name!r}])"
    told = python(code, hub, tmp_path, **environment)
    assert told.returncode == 2
    assert message in told.stderr
    assert len(told.stderr.strip().splitlines()) == 2
