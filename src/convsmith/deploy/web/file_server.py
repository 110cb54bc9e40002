"""A static host on this machine for files in memory, by which a page and Python also hand one another bytes."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

GIVEN, SAID = "given", "said"
"""The addresses where the page gets bytes, and where it puts its own."""


class FileServer(ThreadingHTTPServer):
    """The files, and the bytes that are handed over.

    Attributes:
        files: content by name.
        said: the bytes that the page has put there last.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.said = dict(files), b""

    @property
    def address(self) -> str:
        """The address of the folder, with a slash at its end."""
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:  # as the base class calls it
        """Give a file."""
        name = self.path.lstrip("/") or "index.html"
        content = self.server.files.get(name)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", mimetypes.guess_type(name)[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def do_POST(self) -> None:
        """Take what the page says."""
        self.server.said = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the base class would print each request."""


@contextmanager
def serve_files(files: Mapping[str, bytes]) -> Iterator[FileServer]:
    """The server while it runs, reachable from this machine alone."""
    with FileServer(files) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
