"""A server of weights on this machine that can be as bad as the real ones."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.answering import answering

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does, and what it was asked for."""

    url: str = ""
    content: bytes = CONTENT
    status: int = 200
    refusals: int | None = None
    """How many requests get that status before one is served; None: all of them."""
    retry_after: str | None = None
    ranges: bool = True
    shift: int = 0
    announces_length: bool = True
    stops_after: int | None = None
    """Bytes after which the connection is closed."""
    silent_after: int | None = None
    """Bytes after which nothing comes any more."""
    pause: float = 0.0
    """Seconds before it answers."""
    trickle: float = 0.0
    """Seconds between the eight pieces that it sends."""
    asked: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    done: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run it for the length of a block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.asked.append(wanted)
            time.sleep(server.pause)
            if server.status != 200 and (server.refusals is None or len(server.asked) <= server.refusals):
                self.send_response(server.status)
                if server.retry_after is not None:
                    self.send_header("Retry-After", server.retry_after)
                self.end_headers()
                return
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
            if start >= len(server.content):
                self.send_error(416)
                return
            body = server.content[start:]
            self.send_response(206 if start else 200)
            if start:
                first = start + server.shift
                self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
            if server.announces_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            body = body[: server.stops_after if server.silent_after is None else server.silent_after]
            step = -(-len(body) // 8) if server.trickle else len(body)
            for start in range(0, len(body), step or 1):
                self.wfile.write(body[start : start + step])
                time.sleep(server.trickle)
            if server.silent_after is not None:
                server.done.wait(10)

        def log_message(self, format: str, *words: object) -> None:  # noqa: A002
            pass

    with answering(Handler) as address:
        server.url = f"{address}/weights-{SHA256[:8]}.pth"
        try:
            yield server
        finally:
            server.done.set()
