"""One client's connection: how long it may be silent, how much work it is at a time, how many there may be."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import h11
from starlette.datastructures import MutableHeaders
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from convsmith.serve.browsers import add_usual_headers
from convsmith.serve.problems import Problem
from convsmith.serve.recorder import RecordWatcher, identity
from convsmith.serve.request_record import RequestRecord, record_of

REQUEST_SECONDS = 10  # until the headers of the next request are there
PARTING_SECONDS = 2  # for a client to read why it is sent away
SMALL = 4096  # bytes from which on a part of a body costs no more than they do
STEPS = 64  # smaller parts of a request that are read before others have their turn
PAUSE = 0.01  # seconds before each such turn


class Crowd:
    """All connections of a server.

    Attributes:
        members: those that wait the longest first.
        most: how many there may be; one more ends the first that waits.
        watchers: called with the record of each answer that no application gave.
        turn: that of one of those that have sent many small parts. However many they are, they cost what one does.
    """

    def __init__(self, most: int, watchers: Sequence[RecordWatcher] = ()) -> None:
        self.members: dict[Connection, None] = {}
        self.most, self.watchers = most, watchers
        self.turn = asyncio.Lock()


class Connection(H11Protocol):
    """Answers one connection, and ends it where the client holds it without asking anything.

    Args:
        crowd: all connections of the server.
        arguments: those of uvicorn.
    """

    def __init__(self, crowd: Crowd, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.conn = self._steps = _Steps(h11.SERVER)
        self._crowd = crowd
        self._deadline: asyncio.TimerHandle | None = None
        self._turn: asyncio.Task[None] | None = None
        self._parting = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for a request, and make room where there are too many connections."""
        super().connection_made(transport)
        self._wait(REQUEST_SECONDS)
        members = self._crowd.members
        while len(members) > self._crowd.most:
            spare = next(connection for connection in members if connection._is_spare())
            if spare is self:
                why = f"{self._crowd.most} connections are open"
                self._answer(Problem(503, "not ready", why, "Try again in a moment.", {"Retry-After": "1"}))
                break
            del members[spare]
            spare.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._crowd.members.pop(self, None)
        self._stop_waiting()
        if self._turn:
            self._turn.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the client has been sent away or others have their turn."""
        if self._parting:
            return
        if self._steps.left:
            super().data_received(data)
        else:
            self._steps.receive_data(data)
            self.transport.pause_reading()

    def handle_events(self) -> None:
        """Act on what has been received, a bounded number of small parts at a time."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        if not self._steps.left and not self._turn and not self.transport.is_closing():
            self.transport.pause_reading()
            self._turn = self.loop.create_task(self._read_in_turn())

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; called by uvicorn while it handles h11's error."""
        error = sys.exception()
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._answer(Problem(status, "the request cannot be read", str(error or msg), "Send HTTP/1.1."))

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._wait(REQUEST_SECONDS)
        if not self._turn:
            self._steps.left = STEPS
        super().on_response_complete()

    def shutdown(self) -> None:
        """End the connection, once what it has asked is answered."""
        if self._parting:
            self.transport.abort()
        else:
            super().shutdown()

    def _is_spare(self) -> bool:
        """Whether nothing that was asked is lost with this connection."""
        answered = self.cycle is None or self.cycle.response_started
        return answered and not self.transport.get_write_buffer_size()

    async def _read_in_turn(self) -> None:
        async with self._crowd.turn:
            await asyncio.sleep(PAUSE)
        self._turn = None
        if not self.transport.is_closing() and not self._parting:
            self._steps.left = STEPS
            if not self.flow.read_paused:
                self.transport.resume_reading()
            self.handle_events()

    def _wait(self, seconds: float) -> None:
        """Let the client have so many seconds; it waits the shortest of all now."""
        self._stop_waiting()
        self._deadline = self.loop.call_later(seconds, self._give_up)
        self._crowd.members.pop(self, None)
        self._crowd.members[self] = None

    def _stop_waiting(self) -> None:
        if self._deadline:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self._parting:
            self.transport.abort()
        elif self.transport.get_write_buffer_size():  # it reads an answer; the kernel ends it where it does not
            self._wait(REQUEST_SECONDS)
        elif self.conn.our_state is not h11.IDLE:  # it has its answer, and goes on sending what was asked
            self.transport.abort()
        elif self.conn.trailing_data[0]:
            why = f"{REQUEST_SECONDS} seconds are allowed for its headers"
            self._answer(Problem(408, "the request took too long", why, "Try again."))
        else:
            self.transport.close()

    def _answer(self, problem: Problem) -> None:
        """Answer in place of the application, and close when the client has had the time to read it."""
        self._parting = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = problem.body.model_dump_json().encode()
            headers = MutableHeaders(
                {
                    **identity(self._record_of(problem)),
                    "Content-Type": "application/json",
                    "Content-Length": str(len(body)),
                    "Connection": "close",
                    **(problem.headers or {}),
                }
            )
            add_usual_headers(headers)
            response = h11.Response(status_code=problem.status, headers=list(headers.items()))
            with suppress(h11.LocalProtocolError):  # the answer to HEAD has no body
                for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write_eof()
        self._wait(PARTING_SECONDS)

    def _record_of(self, problem: Problem) -> RequestRecord:
        """The record of the request that is answered so; one that no application knows goes to the watchers."""
        if self.cycle is not None and self.conn.our_state is h11.SEND_RESPONSE:
            return record_of(cast("Scope", self.cycle.scope))
        record = RequestRecord(client=self.client[0] if self.client else "", status=problem.status)
        for watch in self._crowd.watchers:
            watch(record)
        return record


class _Steps(h11.Connection):
    """HTTP that is read a number of small parts at a time: a body of chunks of one byte would be tens of thousands."""

    left = STEPS

    def next_event(self) -> Any:
        if not self.left:
            return h11.NEED_DATA
        event = super().next_event()
        self.left -= isinstance(event, h11.Data) and len(event.data) < SMALL
        return event
