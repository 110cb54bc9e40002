"""Fetches images by their address, with a bound on everything that the other side decides."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO
from urllib.parse import SplitResult, urljoin, urlunsplit

import h11

from convsmith.serve.addresses import Pattern, parse_url, resolve
from convsmith.serve.body import memory_for, new_spool
from convsmith.serve.problems import Problem, unavailable

SECONDS = 10  # for all of one image
REDIRECTS = 3
AT_ONCE = 32  # of all clients together
_CHUNK = 65536
_FAILED = "the image cannot be fetched"


@dataclass
class Budget:
    """The bytes that the images of one request may have together."""

    left: int

    def take(self, number: int) -> None:
        """Use so many of them; a `Problem` of status 413 if there are less."""
        self.left -= number
        if self.left < 0:
            raise Problem(413, "the image is too large", "its request has no bytes left for it", "Send less at a time.")


class Fetcher:
    """Fetches images from the addresses that patterns allow.

    Args:
        patterns: as `Pattern.parse` takes them; with none, nothing is fetched.

    Raises:
        ConvsmithError: one is not a pattern.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns = [Pattern.parse(text) for text in patterns]
        self._open = 0

    async def fetch(self, url: str, budget: Budget) -> BinaryIO:
        """The content of an image's address.

        Raises:
            Problem: 403 the address is not allowed, 413 the image is too large, 422 it cannot be fetched, 503 too many
                are being fetched.
        """
        if not self._patterns:
            why = "this server was started without --allow-urls"
            raise Problem(403, "images are not fetched by their address", why, "Send the image itself.")
        if self._open >= AT_ONCE:
            raise unavailable(f"{self._open} images are being fetched")
        self._open += 1
        try:
            async with asyncio.timeout(SECONDS):
                return await self._follow(url, budget)
        except TimeoutError as error:
            raise Problem(422, _FAILED, f"it takes more than {SECONDS} seconds") from error
        except (OSError, h11.ProtocolError) as error:
            raise Problem(422, _FAILED, f"its server does not answer as one should ({type(error).__name__})") from error
        finally:
            self._open -= 1

    async def _follow(self, url: str, budget: Budget) -> BinaryIO:
        for _ in range(REDIRECTS + 1):
            parts = parse_url(url, self._patterns)
            found = await _get(parts, budget)
            if not isinstance(found, str):
                return found
            url = urljoin(urlunsplit(parts), found)
        raise Problem(422, _FAILED, f"it leads on to further addresses more than {REDIRECTS} times")


async def _get(url: SplitResult, budget: Budget) -> BinaryIO | str:
    """The content of an address, or which address it leads on to."""
    async with _connected(url) as (reader, writer):
        connection = h11.Connection(h11.CLIENT)
        target = f"{url.path}?{url.query}" if url.query else url.path
        headers = [("Host", url.netloc), ("Accept-Encoding", "identity"), ("Connection", "close")]
        request = h11.Request(method="GET", target=target, headers=[*headers, ("User-Agent", "convsmith")])
        writer.write(connection.send(request) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        while isinstance(answer := await _next_event(connection, reader), h11.InformationalResponse):
            pass
        if not isinstance(answer, h11.Response):
            raise h11.RemoteProtocolError("no answer")
        location = dict(answer.headers).get(b"location")
        if answer.status_code in (301, 302, 303, 307, 308) and location:
            return location.decode("latin-1")
        if answer.status_code != 200:
            raise Problem(422, _FAILED, f"{url.hostname} answers {answer.status_code}")
        return await _read(connection, reader, budget)


async def _read(connection: h11.Connection, reader: asyncio.StreamReader, budget: Budget) -> BinaryIO:
    spool = new_spool(memory_for(budget.left))
    try:
        while isinstance(event := await _next_event(connection, reader), h11.Data):
            budget.take(len(event.data))
            await spool.write(bytes(event.data))
    except BaseException:
        await spool.close()
        raise
    return spool.file


async def _next_event(connection: h11.Connection, reader: asyncio.StreamReader) -> Any:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_CHUNK))
    return event


@contextlib.asynccontextmanager
async def _connected(url: SplitResult) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    places = await resolve(url)
    for number, (family, address) in enumerate(places):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await asyncio.get_running_loop().sock_connect(connection, address)
            break
        except BaseException as error:
            connection.close()
            if not isinstance(error, OSError) or number == len(places) - 1:
                raise
    safe: dict[str, Any] = {"ssl": _tls(), "server_hostname": url.hostname} if url.scheme == "https" else {}
    reader, writer = await asyncio.open_connection(sock=connection, **safe)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
