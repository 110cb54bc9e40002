"""A real server on a free port, in a thread of this process or as the command `convsmith serve`."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from convsmith.serve.server import Server, listen, make_server

PATIENCE = 60  # seconds after which a test that waits has failed


@contextmanager
def served(app: FastAPI, wait: bool = True) -> Iterator[tuple[Server, str]]:
    """The server and its address; with `wait`, once it is ready."""
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    server = make_server(app, ready.set)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert not wait or ready.wait(PATIENCE)
        yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextmanager
def served_by_command(
    bundle: Path, *options: str, python: Path | str = sys.executable
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of `convsmith serve` and its address, once it has said that it is ready."""
    command = [python, "-m", "convsmith.cli.main", "serve", bundle, "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            address = re.search(r"http://\S+:\d+", line)
            assert address, line + process.stderr.read()
            yield process, address[0]
        finally:
            process.kill()


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def post(url: str, content: bytes, name: str = "photo.png", field: str = "image", query: str = "") -> httpx.Response:
    """Send a file to /predict."""
    return httpx.post(f"{url}/predict{query}", files={field: (name, content)}, timeout=PATIENCE)
