"""Runs the application with uvicorn, and stops it without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from convsmith.bundle.format import bundle_folder, read_manifest
from convsmith.errors import ConvsmithError
from convsmith.serve.app import MEGABYTE, create_app
from convsmith.serve.service import Service

DRAIN_SECONDS = 20
CLOSE_SECONDS = 5  # for connections that are open beyond that; 25 together, under the usual 30 before SIGKILL


class Server(uvicorn.Server):
    """uvicorn that says when the model is ready, ends when it cannot be loaded, and drains before it closes."""

    def __init__(self, config: uvicorn.Config, service: Service, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_ready: Callable[[], None] | None = on_ready

    async def on_tick(self, counter: int) -> bool:
        """Called by uvicorn ten times a second; True ends the server."""
        if self._on_ready and self._service.bundle:
            self._on_ready()
            self._on_ready = None
        return self._service.failure is not None or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new predictions, still answering `/healthz` and `/readyz`, until those in flight are done."""
        self._service.stopping = True
        for _ in range(10 * DRAIN_SECONDS):
            if not self._service.active or self.force_exit:
                break
            await asyncio.sleep(0.1)
        await super().shutdown(sockets)


def make_server(app: FastAPI, on_ready: Callable[[], None] = lambda: None) -> Server:
    """A server for what `create_app` made; `on_ready` is called once, when it answers predictions."""
    config = uvicorn.Config(
        app,
        http="h11",  # always there, and reads on after an early answer, so that the client gets to see it
        loop="asyncio",
        ws="none",
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=CLOSE_SECONDS,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    return Server(config, app.state.service, on_ready)


def serve(
    bundle_path: Path,
    host: str,
    port: int,
    max_bytes: int = 20 * MEGABYTE,
    workers: int | None = None,
    threads: int | None = None,
    max_pixels: int | None = None,
) -> None:
    """Serve a bundle, or that of a run, until SIGTERM or Ctrl-C; then finish the requests in flight and return.

    Must run in the main thread, which gets the signals. Port 0 takes a free one.

    Raises:
        ConvsmithError: the bundle cannot be loaded, or the address not be used.
    """
    bundle_path = bundle_folder(bundle_path)
    labels = read_manifest(bundle_path).labels
    app = create_app(bundle_path, max_bytes=max_bytes, workers=workers, threads=threads, max_pixels=max_pixels)
    listener = listen(host, port)
    port = listener.getsockname()[1]

    def announce() -> None:
        print(f"Serving {bundle_path} ({len(labels)} classes) at {_url(host, port)}, until Ctrl-C. Try:")
        print(f"  curl -F image=@photo.jpg {_url({'0.0.0.0': '127.0.0.1', '::': '::1'}.get(host, host), port)}/predict")
        sys.stdout.flush()

    # uvicorn raises a signal again once it has stopped: an orderly end either way
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        make_server(app, announce).run(sockets=[listener])
    if app.state.service.failure:
        raise app.state.service.failure


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections send small answers at once; port 0 takes a free one.

    Raises:
        ConvsmithError: the address cannot be used.
    """
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConvsmithError(
            f"cannot listen on {_url(host, port)}", error.strerror or str(error), "Choose another --port or --host."
        ) from error
    # asyncio sets TCP_NODELAY only where a socket names its protocol, which create_server leaves out
    return socket.socket(listener.family, listener.type, socket.IPPROTO_TCP, fileno=listener.detach())


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
