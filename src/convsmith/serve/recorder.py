"""Around every request: its id for the client, its record for those who watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convsmith.serve.asked import Asked
from convsmith.serve.browsers import add_usual_headers
from convsmith.serve.request_record import RequestRecord, current, record_of

RecordWatcher = Callable[[RequestRecord], None]
"""Called on the event loop with the record of each request that has ended; it must not block."""

InFlight = Callable[[float], None]
"""Called with 1 when a request begins, and with -1 when it ends."""


class Recorder:
    """Keeps a record of each request, and puts its id and its trace into the answer, whatever that is.

    Args:
        app: what answers.
        in_flight: counts those that are being answered.
        watchers: called with each record.
    """

    def __init__(self, app: ASGIApp, in_flight: InFlight, watchers: list[RecordWatcher]) -> None:
        self._app, self._in_flight, self._watchers = app, in_flight, watchers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = record_of(scope)

        async def receive_and_count() -> Message:
            message = await receive()
            record.received += len(message.get("body", b""))
            return message

        async def send_and_count(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(identity(record))
                add_usual_headers(headers)
            record.sent += len(message.get("body", b""))
            await send(message)

        with recorded(record, self._in_flight, self._watchers):
            try:
                await self._app(scope, receive_and_count, send_and_count)
            finally:
                record.route = getattr(scope.get("route"), "path", "")


@contextmanager
def recorded(record: RequestRecord, in_flight: InFlight, watchers: Sequence[RecordWatcher]) -> Iterator[None]:
    """Have the record of the request that the block answers, and give it to the watchers at its end."""
    before, started = current.set(record), time.perf_counter()
    in_flight(1)
    try:
        yield
    finally:
        current.reset(before)
        in_flight(-1)
        record.seconds = time.perf_counter() - started
        for watch in watchers:
            watch(record)


def identity(record: RequestRecord) -> dict[str, str]:
    """The headers by which an answer says which request it belongs to."""
    return {"X-Request-Id": record.id, **({"traceparent": record.traceparent} if record.traceparent else {})}


def note(asked: Asked, _: Any) -> None:
    """Put an image into the record of the request that it came with."""
    if record := current.get():
        record.asked.append(asked)
