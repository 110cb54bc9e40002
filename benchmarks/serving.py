"""Requests a second of `convsmith serve`, beside plain FastAPI over the same ONNX file and an earlier checkout.

    .venv/bin/python benchmarks/serving.py BUNDLE PHOTO [--clients 1 8 32] [--seconds 5] [--fresh] [--before SRC]

Every server gets the same JPEG from the same clients, one server after the other, in rounds; medians of the rounds
count. Clients keep their connections; with `--fresh` each request opens its own. The plain server decodes and
preprocesses with the bundle's own functions, so what differs is the serving alone.
"""

from __future__ import annotations

import argparse
import http.client
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PLAIN = """
import io, sys
import uvicorn
from fastapi import FastAPI, UploadFile
from convsmith.bundle.predictor import load
bundle, app = load(sys.argv[1]), FastAPI()

@app.post("/predict")
def predict(image: UploadFile):
    return [[answer.label, answer.score] for answer in bundle.predict(io.BytesIO(image.file.read())).top(5)]

@app.get("/readyz")
def ready():
    return {}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""


@dataclass(frozen=True)
class Server:
    """A server to measure: its name, the command that starts it, and what its environment adds."""

    name: str
    command: list[str]
    environment: dict[str, str]


def servers(bundle: Path, before: Path | None, port: int) -> list[Server]:
    """The servers that take turns."""
    ours = [sys.executable, "-m", "convsmith.cli.main", "serve", str(bundle), "--port", str(port)]
    found = [Server("convsmith", ours, {}), Server("plain", [sys.executable, "-c", PLAIN, str(bundle), str(port)], {})]
    if before is not None:
        found.append(Server("before", ours, {"PYTHONPATH": str(before)}))
    return found


@contextmanager
def running(server: Server, port: int) -> Iterator[None]:
    """Start a server, wait until it answers, and stop it at the end.

    Raises:
        RuntimeError: it ended, or did not answer within a minute.
    """
    with subprocess.Popen(
        server.command, env={**os.environ, **server.environment}, stdout=subprocess.DEVNULL
    ) as process:
        try:
            for _ in range(600):
                if process.poll() is not None:
                    raise RuntimeError(f"{server.name} ended with {process.returncode}")
                with suppress(OSError):  # it does not listen yet
                    if _ask(_connect(port), "GET", "/readyz") == 200:
                        break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"{server.name} did not answer within a minute")
            yield
        finally:
            process.terminate()


def _connect(port: int) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: http.client.HTTPConnection, method: str, path: str, body: bytes = b"") -> int:
    headers = {"Content-Type": "multipart/form-data; boundary=cut"} if body else {}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def measure(port: int, body: bytes, clients: int, seconds: float, fresh: bool) -> list[float]:
    """Seconds of every request that was answered with 200, of as many clients at once."""
    end, times, lock = time.monotonic() + seconds, list[float](), threading.Lock()

    def client() -> None:
        connection, mine = _connect(port), list[float]()
        while time.monotonic() < end:
            start = time.perf_counter()
            if fresh:
                connection.close()
                connection = _connect(port)
            if _ask(connection, "POST", "/predict", body) == 200:
                mine.append(time.perf_counter() - start)
        with lock:
            times.extend(mine)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def main() -> None:
    """Print a table: requests a second, p50 and p99 in milliseconds of every server at every number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--before", type=Path, help="src of an earlier checkout")
    parser.add_argument("--fresh", action="store_true", help="a connection for every request")
    args = parser.parse_args()
    head = b'--cut\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
    body = head + args.photo.read_bytes() + b"\r\n--cut--\r\n"
    rows: dict[tuple[int, str], list[tuple[float, float, float]]] = {}
    for _ in range(args.rounds):
        for server in servers(args.bundle, args.before, args.port):
            with running(server, args.port):
                measure(args.port, body, 2, 1, args.fresh)
                for clients in args.clients:
                    times = sorted(measure(args.port, body, clients, args.seconds, args.fresh))
                    figures = len(times) / args.seconds, times[len(times) // 2], times[int(len(times) * 0.99)]
                    rows.setdefault((clients, server.name), []).append(figures)
    print("| clients | server | requests/s | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for (clients, name), figures_of in sorted(rows.items()):
        rate, p50, p99 = (statistics.median(row[i] for row in figures_of) for i in range(3))
        print(f"| {clients} | {name} | {rate:.1f} | {p50 * 1e3:.1f} | {p99 * 1e3:.1f} |")


if __name__ == "__main__":
    main()
