"""Images built to hold a server: what each costs, and how long an honest client waits beside eight that send it.

    .venv/bin/python benchmarks/hostile_images.py BUNDLE [--files NAME,...] [--seconds N] [--no-server] [--no-costs]

First each file in a process of its own: seconds and peak of memory, of weighing and (if let in) decoding it as the
server does, and of decoding it as training does. Then `convsmith serve BUNDLE`: latency of one client that sends
photos of 500 x 375, alone and beside eight others that send photos too, each as fast as it can; and beside eight that
send each of the files. Use an idle machine.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from convsmith.bundle.images.budget import served_pixels, weigh
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.spec import Preprocess
from tests.hostile_images import HOSTILE

ATTACKERS = 8
BOUNDARY = b"hostile"


def decode(path: Path, is_served: bool) -> dict[str, object]:
    """The cost of one file in this process."""
    warnings.simplefilter("ignore")
    data = path.read_bytes()
    start = time.perf_counter()
    try:
        if is_served:
            weigh(data, "it", served_pixels(None))
        read_and_preprocess(data, Preprocess(resize=256, crop=224), "it")
        answer = "decoded"
    except ImageError as error:
        answer = error.why
    seconds = time.perf_counter() - start
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return {"seconds": seconds, "megabytes": int(peak[1]) / 1024 if peak else 0, "answer": answer}


def in_a_process(path: Path, way: str) -> dict[str, object]:
    """`decode` in a fresh process, of at most two minutes."""
    command = [sys.executable, __file__, "-", "--decode", str(path), "--way", way]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    except subprocess.TimeoutExpired:
        return {"seconds": float("inf"), "megabytes": float("nan"), "answer": "not ended"}
    result: dict[str, object] = json.loads(told.stdout)
    return result


def body_of(content: bytes) -> bytes:
    """A multipart form with the file."""
    head = b'--%s\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' % BOUNDARY
    return head + content + b"\r\n--%s--\r\n" % BOUNDARY


def post(connection: http.client.HTTPConnection, body: bytes) -> int:
    """Send a form and read the answer; its status."""
    connection.request("POST", "/predict", body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}"})
    response = connection.getresponse()
    response.read()
    return response.status


def attack(port: int, file: Path) -> None:
    """Send the file again and again on eight connections, until killed."""
    body = body_of(file.read_bytes())

    def send() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            try:
                post(connection, body)
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.01)

    threads = [threading.Thread(target=send) for _ in range(ATTACKERS)]
    for thread in threads:
        thread.start()


def latencies(port: int, body: bytes, seconds: float) -> tuple[list[float], int]:
    """Milliseconds of each answer to an honest client, and how many were errors."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    times, failed, end = [], 0, time.monotonic() + seconds
    while time.monotonic() < end:
        start = time.perf_counter()
        try:
            failed += post(connection, body) != 200
        except (OSError, http.client.HTTPException):
            failed += 1
            connection.close()
        times.append(1000 * (time.perf_counter() - start))
    return times, failed


def besieged(port: int, honest: bytes, attackers_file: Path | None, seconds: float) -> str:
    """A line of the table."""
    if attackers_file is None:
        times, failed = latencies(port, honest, seconds)
    else:
        with subprocess.Popen([sys.executable, __file__, "-", "--attack", str(attackers_file), str(port)]) as attackers:
            try:
                time.sleep(1.5)
                times, failed = latencies(port, honest, seconds)
            finally:
                attackers.kill()
        time.sleep(0.5)
    cut = sorted(times)
    p99 = cut[min(len(cut) - 1, int(0.99 * len(cut)))]
    return f"{len(times) / seconds:7.1f} {statistics.median(times):8.1f} {p99:8.1f} {failed:6}"


def photo(size: tuple[int, int] = (500, 375)) -> bytes:
    """A JPEG of smooth noise."""
    content = io.BytesIO()
    Image.effect_noise((32, 24), 60).resize(size, Image.Resampling.BICUBIC).convert("RGB").save(content, "JPEG")
    return content.getvalue()


def main() -> None:
    """Make the files, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("bundle")
    parser.add_argument("--files", help="names, with commas; all by default")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--no-server", action="store_true")
    parser.add_argument("--no-costs", action="store_true")
    parser.add_argument("--decode", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--attack", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.decode:
        print(json.dumps(decode(options.decode, options.way == "server")))
        return
    if options.attack:
        attack(int(options.attack[1]), Path(options.attack[0]))
        return
    names = options.files.split(",") if options.files else list(HOSTILE)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in names]
        for file in files:
            file.write_bytes(HOSTILE[file.name]())
        if not options.no_costs:
            print(f"{'':26}{'bytes':>11}{'server s':>10}{'MB':>6}{'training s':>12}{'MB':>6}  server's answer")
            for file in files:
                served, trained = in_a_process(file, "server"), in_a_process(file, "training")
                row = "".join(
                    f"{it['seconds']:>{wide}.2f}{it['megabytes']:>6.0f}" for it, wide in ((served, 10), (trained, 12))
                )
                print(f"{file.name:26}{file.stat().st_size:>11,}{row}  {str(served['answer'])[:80]}", flush=True)
        if not options.no_server:
            ordinary = Path(folder, "ordinary photos")
            ordinary.write_bytes(photo())
            honest = body_of(photo())
            command = [sys.executable, "-m", "convsmith.cli.main", "serve", options.bundle, "--port", "0"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
                try:
                    assert server.stdout
                    address = re.search(r"http://\S+:(\d+)", server.stdout.readline())
                    assert address, "the server did not start"
                    threading.Thread(target=server.stdout.read, daemon=True).start()
                    port = int(address[1])
                    print(f"{'beside eight that send':26}{'req/s':>7}{'p50 ms':>9}{'p99 ms':>9}{'errors':>7}")
                    for sent in (None, ordinary, *files, None):
                        line = besieged(port, honest, sent, options.seconds)
                        print(f"{sent.name if sent else 'nothing':26}{line}", flush=True)
                    peak = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())
                    print(f"peak of the server's memory: {int(peak[1]) // 1024 if peak else 0} MB")
                finally:
                    server.kill()


if __name__ == "__main__":
    main()
