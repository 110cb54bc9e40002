"""Rules for every request and its answer."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convsmith.serve.refusals import Refusals
from convsmith.serve.request_record import client_of
from convsmith.serve.service import Service
from convsmith.serve.uploads import Pace

LINGER = Pace(grace=2, rate=100_000, most=30)


class Exchange:
    """Lets the model be loaded, the client read an early answer, and connections end when the server is leaving.

    A client that is refused again and again waits for its answers while the requests of others are being answered.

    A client that is refused while it still sends its body would have its connection reset before it has read why: what
    it sends is read, for a bounded time, before the answer is ended.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service, self._refusals = app, service, Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._service.start_loading()
        headers = Headers(scope=scope)
        sending = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        invited = "expect" not in headers

        async def receive_and_note() -> Message:
            nonlocal sending, invited
            invited = True
            message = await receive()
            sending = message.get("more_body", False)
            return message

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if 400 <= message["status"] < 500:
                    await self._let_wait(scope)
                if self._service.leaving:
                    MutableHeaders(raw=message["headers"])["Connection"] = "close"
            if message["type"] == "http.response.body" and not message.get("more_body") and sending and invited:
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with self._service.uploads.paced(receive_and_note, LINGER) as rest:
                        while sending:
                            await rest()
                message = {"type": "http.response.body"}
            await send(message)

        await self._app(scope, receive_and_note, answer)

    async def _let_wait(self, scope: Scope) -> None:
        seconds = self._refusals.seconds_to_wait(client_of(scope))
        if self._service.active and not self._service.leaving:
            await asyncio.sleep(seconds)
