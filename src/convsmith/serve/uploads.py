"""How long the bodies of requests may take to come in, and how many may be on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from starlette.types import Message, Receive

MOST = 128  # each is up to a megabyte of memory, and a file of the largest size


class Pace(NamedTuple):
    """The seconds that a body may take: `grace` and one for each `rate` bytes, at most `most`."""

    grace: float
    rate: float
    most: float


class Uploads:
    """The bodies that are being received, the oldest first."""

    def __init__(self) -> None:
        self._open: dict[_Upload, None] = {}

    def __len__(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def paced(self, receive: Receive, pace: Pace) -> AsyncIterator[Receive]:
        """A `receive` for the block, which a TimeoutError ends where the body comes too slowly.

        One body more than there may be ends the oldest, which under an attack is an attacker's.
        """
        if len(self._open) >= MOST:
            oldest = next(iter(self._open))
            del self._open[oldest]
            oldest.end_by(0)
        async with asyncio.timeout(pace.grace) as timeout:
            upload = _Upload(receive, pace, timeout)
            self._open[upload] = None
            try:
                yield upload.receive
            finally:
                self._open.pop(upload, None)

    def end_within(self, seconds: float) -> None:
        """Let no body that is on its way take longer than so many seconds from now."""
        for upload in self._open:
            upload.end_by(asyncio.get_running_loop().time() + seconds)


class _Upload:
    def __init__(self, receive: Receive, pace: Pace, timeout: asyncio.Timeout) -> None:
        self._receive, self._pace, self._timeout = receive, pace, timeout
        self._start = asyncio.get_running_loop().time()
        self._latest = self._start + pace.most
        self._received = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self.end_by(self._latest)
        return message

    def end_by(self, time: float) -> None:
        """End at that time of the event loop or earlier."""
        self._latest = min(self._latest, time)
        if not self._timeout.expired():
            paced = self._start + self._pace.grace + self._received / self._pace.rate
            self._timeout.reschedule(min(self._latest, paced))
