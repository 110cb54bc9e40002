"""Waiting times of an honest client of `convsmith serve` beside clients that hold connections and send little.

    .venv/bin/python benchmarks/besieged.py BUNDLE PHOTO [--seconds 10]

The honest client opens a connection for every request. The others live in a process of their own and come back as soon
as they are sent away.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import multiprocessing
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=cut\r\n"
PART = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'


async def idle() -> AsyncIterator[bytes]:
    """Send nothing."""
    await asyncio.sleep(3600)
    yield b""


async def slow_headers() -> AsyncIterator[bytes]:
    """Send a byte of endless headers a second."""
    yield HEAD
    while True:
        yield b"x"
        await asyncio.sleep(1)


async def slow_body() -> AsyncIterator[bytes]:
    """Send a byte of an image a second."""
    yield HEAD + b"Content-Length: 1000000\r\n\r\n" + PART
    while True:
        yield b"x"
        await asyncio.sleep(1)


async def tiny_chunks() -> AsyncIterator[bytes]:
    """Send an image in chunks of one byte, as fast as they are taken."""
    yield HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(PART), PART)
    while True:
        yield b"1\r\nx\r\n" * 10_000


Attack = Callable[[], AsyncIterator[bytes]]


async def _attack(port: int, send: Attack) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            gone = asyncio.create_task(reader.read())
            sending = asyncio.create_task(_send(writer, send()))
            await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            sending.cancel()
            writer.close()
        await asyncio.sleep(0.1)


async def _send(writer: asyncio.StreamWriter, pieces: AsyncIterator[bytes]) -> None:
    with contextlib.suppress(OSError):
        async for piece in pieces:
            writer.write(piece)
            await writer.drain()


def besiege(port: int, numbers: dict[Attack, int]) -> None:
    """Attack for ever, with so many clients of each kind."""

    async def all_together() -> None:
        await asyncio.gather(*(_attack(port, send) for send, number in numbers.items() for _ in range(number)))

    asyncio.run(all_together())


def measure(port: int, photo: bytes, seconds: float) -> tuple[list[float], int]:
    """Seconds of each request that was answered with 200, and how many were not."""
    body = PART + photo + b"\r\n--cut--\r\n"
    times, refused, end = list[float](), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("POST", "/predict", body, {"Content-Type": "multipart/form-data; boundary=cut"})
            answered = connection.getresponse().status == 200
            connection.close()
        except OSError:
            answered = False
        times.append(time.perf_counter() - start)
        if not answered:
            times.pop()
            refused += 1
    return times, refused


@contextmanager
def serving(bundle: Path) -> Iterator[int]:
    """The port of a server that is ready."""
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            address = re.search(r"http://\S+:(\d+)", process.stdout.readline())
            assert address
            yield int(address[1])
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()


def main() -> None:
    """Print a table: what the honest client waits in milliseconds, alone and beside each kind of the others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--seconds", type=float, default=10)
    args = parser.parse_args()
    sieges: dict[str, dict[Attack, int]] = {
        "alone": {},
        "500 idle": {idle: 500},
        "50 slow headers": {slow_headers: 50},
        "500 idle, 50 slow headers": {idle: 500, slow_headers: 50},
        "100 slow bodies": {slow_body: 100},
        "8 of tiny chunks": {tiny_chunks: 8},
    }
    print(f"{'beside':28}{'answered':>9}{'refused':>9}{'p50 ms':>9}{'p99 ms':>9}{'most ms':>9}")
    for name, numbers in sieges.items():
        with serving(args.bundle) as port:
            attackers = multiprocessing.Process(target=besiege, args=(port, numbers), daemon=True)
            attackers.start()
            time.sleep(2)
            times, refused = measure(port, args.photo.read_bytes(), args.seconds)
            attackers.kill()
        cuts = [1000 * cut for cut in statistics.quantiles(times, n=100)]
        figures = f"{cuts[49]:9.1f}{cuts[98]:9.1f}{1000 * max(times):9.1f}"
        print(f"{name:28}{len(times):9}{refused:9}{figures}", flush=True)


if __name__ == "__main__":
    main()
