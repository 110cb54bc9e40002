"""How long a client waits for its answer: what it has stopped waiting for is not computed."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Header, Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convsmith.serve.problems import Problem, response_of

LONGEST = 86_400
"""Seconds that a client may wait for at most."""


async def takes_timeout(
    x_request_timeout: Annotated[
        float | None,
        Header(gt=0, le=LONGEST, description="Seconds from now on in which the answer is wanted; then it is 504."),
    ] = None,
) -> None:
    """A dependency of every route, which answers 422 to a header that is not such a number."""


class Deadline:
    """Answers 504 when a request has taken the seconds of its `X-Request-Timeout`, and gives up what it asked for.

    Args:
        app: what answers; an answer that it has begun is not broken off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        seconds = _seconds(scope) if scope["type"] == "http" else None
        if seconds is None:
            await self._app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if not timeout.expired():
                timeout.reschedule(None)
            await send(message)

        try:
            async with asyncio.timeout(seconds) as timeout:
                await self._app(scope, receive, answer)
        except TimeoutError:
            if not timeout.expired():
                raise
            problem = Problem(
                504, "the answer took too long", f"X-Request-Timeout is {seconds:g} seconds", "Wait longer."
            )
            await response_of(Request(scope), problem)(scope, receive, send)


def _seconds(scope: Scope) -> float | None:
    """The header's number; None where there is none, or where the route answers that it is none."""
    try:
        seconds = float(Headers(scope=scope).get("x-request-timeout", ""))
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST else None
