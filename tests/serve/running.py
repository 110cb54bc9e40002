"""A real server on a free port, in a thread of this process or as the command `convsmith serve`."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI

from convsmith.serve.server import Server, listen, make_server

PATIENCE = 60  # seconds after which a test that waits has failed


_sleep = asyncio.sleep  # tests replace it, to see the pauses of the server


class _Hurried:
    """asyncio for uvicorn, which looks ten times a second whether a server is ready or must end: a hundred times."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await _sleep(seconds / 10)


@contextmanager
def served(app: FastAPI, wait: bool = True, drain_seconds: float = 0) -> Iterator[tuple[Server, str]]:
    """The server and its address; with `wait`, once it is ready."""
    listener = listen("127.0.0.1", 0)
    ready = threading.Event()
    # uvicorn closes the handlers that there are, and absl's closes its stream, which may be pytest's
    with mock.patch("logging.config._clearExistingHandlers"):
        server = make_server(app, ready.set, drain_seconds)
    thread = threading.Thread(target=server.run, args=([listener],))
    with mock.patch("uvicorn.server.asyncio", _Hurried()):
        thread.start()
        try:
            assert not wait or ready.wait(PATIENCE)
            yield server, f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            server.force_exit = server.force_exit or drain_seconds > 0
            thread.join(PATIENCE)
            assert not thread.is_alive()


@contextmanager
def served_by_command(
    *words: Path | str, python: Path | str = sys.executable
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of `convsmith serve` and its address, once it has said that it is ready."""
    command = [python, "-m", "convsmith.cli.main", "serve", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            line = process.stdout.readline()
            address = re.search(r"https?://\S+:\d+", line)
            assert address, line + process.stderr.read()
            yield process, address[0]
        finally:
            process.kill()


def connect(url: str) -> socket.socket:
    """A connection that has sent nothing."""
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port or 0), PATIENCE)


def read_answer(client: socket.socket, method: str = "POST") -> tuple[int, HTTPResponse, bytes]:
    """Status, headers and body of the next answer of a connection."""
    answer = HTTPResponse(client, method=method)
    answer.begin()
    return answer.status, answer, answer.read()


def head_of_upload(*headers: str, path: str = "/predict") -> bytes:
    """How a request to /predict begins, up to the blank line."""
    form = "Content-Type: multipart/form-data; boundary=b"
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: x", form, *headers, "", "")).encode()


def form(content: bytes) -> bytes:
    """The body of a request to /predict."""
    return b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--b--\r\n' % content


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again and again until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def post(url: str, content: bytes, name: str = "photo.png", field: str = "image", query: str = "") -> httpx.Response:
    """Send a file to /predict."""
    return httpx.post(f"{url}/predict{query}", files={field: (name, content)}, timeout=PATIENCE)
