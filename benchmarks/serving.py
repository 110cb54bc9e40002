"""Requests a second of `convsmith serve`, beside what else serves the same model, and beside the model without HTTP.

    .venv/bin/python benchmarks/serving.py BUNDLE PHOTOS [--clients 1 8 32 128] [--seconds 5] [--rounds 3]
        [--torch] [--litserve PYTHON] [--before SRC] [--endure 200000]

Every server gets the same JPEGs, one after the other, from wrk (apt-get install wrk), which is a process of its own and
costs little; its clients keep their connections. All servers are measured in each round, one after the other, and the
medians of the rounds count. Plain FastAPI and LitServe decode and run with the bundle's own functions, so what differs
is the serving alone. LitServe needs an environment of its own, which `--litserve` names the Python of: with litserve,
what convsmith itself needs. `--torch` adds what guides show: torchvision's resnet50 in float, in an `async def`.
`--endure` sends convsmith alone so many requests of eight clients, and prints its memory on the way.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from convsmith.bundle.predictor import Bundle, load
from convsmith.machine import available_cores

SRC = str(Path(__file__).parents[1] / "src")
PLAIN = """
import io, sys
import uvicorn
from fastapi import FastAPI, UploadFile
from convsmith.bundle.predictor import load
bundle, app = load(sys.argv[1]), FastAPI()

@app.post("/predict")
def predict(image: UploadFile):
    return [[answer.label, answer.score] for answer in bundle.predict(io.BytesIO(image.file.read())).top(5)]

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""
GUIDE = """
import io, sys
import torch, torchvision, uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image
model, app = torchvision.models.resnet50().eval(), FastAPI()
prepare = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.transforms()

@app.post("/predict")
async def predict(image: UploadFile):
    picture = Image.open(io.BytesIO(await image.read())).convert("RGB")
    with torch.no_grad():
        scores = model(prepare(picture)[None])[0].softmax(0)
    top = scores.topk(5)
    return [[int(index), float(score)] for score, index in zip(*top)]

uvicorn.run(app, port=int(sys.argv[2]), log_level="error", access_log=False)
"""
LITSERVE = """
import io, sys
import litserve
from fastapi import UploadFile
from convsmith.bundle.predictor import load

class Api(litserve.LitAPI):
    def setup(self, device):
        self.bundle = load(sys.argv[1], int(sys.argv[4]))

    def decode_request(self, request: UploadFile):
        return self.bundle.preprocess(io.BytesIO(request.file.read()))

    def predict(self, pixels):
        return self.bundle.predict_preprocessed(pixels)

    def encode_response(self, answer):
        return [[label.label, label.score] for label in answer.top(5)]

if __name__ == "__main__":
    server = litserve.LitServer(Api(), accelerator="cpu", workers_per_device=int(sys.argv[3]))
    server.run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""
WRK = """
local requests, next = {}, 0
function init(arguments)
  local headers = {["Content-Type"] = "multipart/form-data; boundary=cut"}
  for name in io.lines(arguments[1]) do
    local file = io.open(name, "rb")
    local part = '--cut\\r\\nContent-Disposition: form-data; name="%s"; filename="a.jpg"\\r\\n\\r\\n'
    local body = string.format(part, arguments[2]) .. file:read("*a") .. "\\r\\n--cut--\\r\\n"
    file:close()
    requests[#requests + 1] = wrk.format("POST", "/predict", headers, body)
  end
end
function request()
  next = next % #requests + 1
  return requests[next]
end
function done(summary, latency, _)
  local line = '{"answered": %d, "refused": %d, "failed": %d, "seconds": %f, "p50": %f, "p99": %f}\\n'
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(line, summary.requests - summary.errors.status, summary.errors.status, failed,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Server:
    """A server to measure: its name, the command that starts it, what its environment adds, its form's field."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    field: str = "image"


@dataclass(frozen=True)
class Figures:
    """Answers a second that some clients saw, milliseconds, how many got none, and megabytes of the server."""

    rate: float
    p50: float
    p99: float
    unanswered: int
    memory: float


def servers(arguments: argparse.Namespace, scripts: Path) -> list[Server]:
    """The servers that take turns."""
    bundle, port, cores = str(arguments.bundle), str(arguments.port), available_cores()

    def script(name: str, text: str) -> str:
        (scripts / f"{name}.py").write_text(text)
        return str(scripts / f"{name}.py")

    ours = [sys.executable, "-m", "convsmith.cli.main", "serve", bundle, "--port", port, *arguments.options.split()]
    found = [
        Server("convsmith", ours, {"PYTHONPATH": SRC}),
        Server("plain FastAPI", [sys.executable, script("plain", PLAIN), bundle, port], {"PYTHONPATH": SRC}),
    ]
    if arguments.before:
        found.append(Server("convsmith before", ours, {"PYTHONPATH": str(arguments.before)}))
    if arguments.litserve:
        file, ways = script("lit", LITSERVE), {(1, cores), (cores, 1)}
        for workers, threads in sorted(ways):
            command = [arguments.litserve, file, bundle, port, str(workers), str(threads)]
            found.append(Server(f"LitServe {workers} x {threads}", command, {"PYTHONPATH": SRC}, "request"))
    if arguments.torch:
        found.append(Server("guide's torch", [sys.executable, script("guide", GUIDE), bundle, port]))
    return found


@contextmanager
def running(server: Server, port: int, photo: bytes) -> Iterator[int]:
    """Start a server, wait until it answers a photo, give its process id, and stop it at the end.

    Raises:
        RuntimeError: it ended, or did not answer within two minutes.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(available_cores()), **server.environment}
    with subprocess.Popen(
        server.command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    ) as process:
        try:
            for _ in range(1200):
                if process.poll() is not None:
                    raise RuntimeError(f"{server.name} ended with {process.returncode}")
                with suppress(OSError, http.client.HTTPException):  # it does not listen yet
                    if _post(port, photo, server.field) == 200:
                        break
                time.sleep(0.1)
            else:
                raise RuntimeError(f"{server.name} did not answer within two minutes")
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # LitServe's processes outlive their parent


def _post(port: int, photo: bytes, name: str) -> int:
    head = f'--cut\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'.encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with closing(connection):
        headers = {"Content-Type": "multipart/form-data; boundary=cut"}
        connection.request("POST", "/predict", head + photo + b"\r\n--cut--\r\n", headers)
        return connection.getresponse().status


def flood(port: int, script: Path, photos: Path, name: str, clients: int, seconds: float) -> dict[str, float]:
    """The figures of wrk, of so many clients that ask for so many seconds."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "60s", "-s", str(script)]
    address = f"http://127.0.0.1:{port}"
    result = subprocess.run([*command, address, "--", str(photos), name], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def megabytes(pid: int) -> float:
    """Memory of a process and all that it started; what they share counts once, and what has ended does not."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1000 + sum(megabytes(int(child)) for child in children)


def without_http(path: Path, photos: Sequence[bytes], clients: int, seconds: float) -> Figures:
    """The same images decoded and answered by threads of this process, as many as there are cores at most."""
    callers = min(clients, available_cores())
    bundle: Bundle = load(path, available_cores() // callers)
    end, times, ask = time.monotonic() + seconds, list[float](), itertools.cycle(photos)

    def call() -> None:
        while time.monotonic() < end:
            start = time.perf_counter()
            bundle.predict(next(ask))
            times.append(time.perf_counter() - start)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    p50, p99 = (1000 * times[int(len(times) * share)] for share in (0.5, 0.99))
    return Figures(len(times) / seconds, p50, p99, 0, megabytes(os.getpid()))


def endure(pid: int, port: int, script: Path, photos: Path, requests: int) -> None:
    """Send so many requests, and print what memory the server has every ten seconds."""
    answered = lost = 0
    print("| answered | unanswered | MB |\n|---|---|---|", flush=True)
    while answered < requests:
        seen = flood(port, script, photos, "image", 8, 10)
        answered, lost = answered + int(seen["answered"]), lost + int(seen["refused"] + seen["failed"])
        print(f"| {answered} | {lost} | {megabytes(pid):.1f} |", flush=True)


def main() -> None:
    """Print a table: answers a second, milliseconds and memory of every server at every number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, help="folder of JPEGs; the first 64 are sent")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32, 128])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--before", type=Path, help="src of an earlier checkout")
    parser.add_argument("--options", default="", help="of `convsmith serve`, in one string")
    parser.add_argument("--torch", action="store_true", help="measure the guide's server too")
    parser.add_argument("--litserve", help="Python of an environment with LitServe")
    parser.add_argument("--endure", type=int, help="how many requests convsmith gets alone")
    arguments = parser.parse_args()
    files = sorted(arguments.photos.rglob("*.[jJ][pP]*[gG]"))[:64]
    photos = [file.read_bytes() for file in files]
    rows: dict[tuple[int, str], list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder:
        script, names = Path(folder) / "flood.lua", Path(folder) / "photos"
        script.write_text(WRK)
        names.write_text("".join(f"{file.resolve()}\n" for file in files))
        if arguments.endure:
            ours, *_ = servers(arguments, Path(folder))
            with running(ours, arguments.port, photos[0]) as pid:
                endure(pid, arguments.port, script, names, arguments.endure)
            return
        for _ in range(arguments.rounds):
            for clients in arguments.clients:
                found = without_http(arguments.bundle, photos, clients, arguments.seconds)
                rows.setdefault((clients, "without HTTP"), []).append(found)
            for server in servers(arguments, Path(folder)):
                with running(server, arguments.port, photos[0]) as pid:
                    flood(arguments.port, script, names, server.field, 2, 1)
                    for clients in arguments.clients:
                        seen = flood(arguments.port, script, names, server.field, clients, arguments.seconds)
                        rate, lost = seen["answered"] / seen["seconds"], int(seen["refused"] + seen["failed"])
                        figures = Figures(rate, seen["p50"], seen["p99"], lost, megabytes(pid))
                        rows.setdefault((clients, server.name), []).append(figures)
    print(f"{platform.processor() or platform.machine()}, {available_cores()} cores, {len(photos)} JPEGs\n")
    print("| clients | server | requests/s | p50 ms | p99 ms | unanswered | MB |\n|---|---|---|---|---|---|---|")
    for (clients, name), figures_of in sorted(rows.items(), key=lambda row: (row[0][0], -_median(row[1], "rate"))):
        rate, p50, p99, memory = (_median(figures_of, it) for it in ("rate", "p50", "p99", "memory"))
        lost = sum(it.unanswered for it in figures_of)
        print(f"| {clients} | {name} | {rate:.1f} | {p50:.1f} | {p99:.1f} | {lost} | {memory:.0f} |")


def _median(rows: Sequence[Figures], name: str) -> float:
    return float(statistics.median(getattr(row, name) for row in rows))


if __name__ == "__main__":
    main()
