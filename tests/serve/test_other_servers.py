"""create_app under a server that is not convsmith's, and inside another application."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from convsmith.serve.app import create_app
from convsmith.serve.server import listen
from tests.colours import picture
from tests.serve.conftest import MAX_BYTES
from tests.serve.running import PATIENCE, connect, head_of_upload, post, read_answer, wait_until


@contextmanager
def served_by_uvicorn(app: FastAPI) -> Iterator[str]:
    """The address of an application under uvicorn as it is."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="h11"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)


def test_two_applications_that_are_mounted_in_one_predict(colour_bundle: Path) -> None:
    app = FastAPI()
    app.mount("/one", create_app(colour_bundle))
    app.mount("/two", create_app(colour_bundle))
    with served_by_uvicorn(app) as url:
        for name in ("one", "two"):
            wait_until(lambda name=name: httpx.get(f"{url}/{name}/readyz").status_code == 200)  # type: ignore[misc]
            assert post(f"{url}/{name}", picture("red")).json()["label"] == "red"


@pytest.mark.parametrize("mounted", [False, True])
def test_a_bundle_that_is_missing_is_told(tmp_path: Path, mounted: bool, caplog: pytest.LogCaptureFixture) -> None:
    app = bundle_app = create_app(tmp_path / "nowhere")
    if mounted:
        app = FastAPI()
        app.mount("", bundle_app)
    with served_by_uvicorn(app) as url:
        wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 503)
        answer = httpx.get(f"{url}/readyz")
        assert (answer.status_code, answer.json()["error"]) == (503, "not ready")
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert f"{tmp_path}/nowhere is not a bundle" in told[0].getMessage()


def test_a_client_gets_to_see_why_a_large_upload_is_refused(colour_bundle: Path) -> None:
    size = 50 * MAX_BYTES
    with served_by_uvicorn(create_app(colour_bundle, max_bytes=MAX_BYTES)) as url, connect(url) as client:
        client.sendall(head_of_upload(f"Content-Length: {size}", "Connection: close"))
        client.sendall(bytes(size))
        assert read_answer(client)[0] in (413, 503)
