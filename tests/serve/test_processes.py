"""Several processes behind one port; and a signal under load, which loses no request."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from convsmith.errors import ConvsmithError
from convsmith.machine import available_cores
from convsmith.serve.processes import share_out
from convsmith.serve.settings import Settings
from tests.colours import picture, write_colour_bundle
from tests.serve.running import PATIENCE, form, post, served_by_command, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
TWO = ("--processes", "2", "--workers", "1", "--threads", "1")
needs_two_cores = pytest.mark.skipif(available_cores() < 2, reason="two processes take two cores")


def serving(parent: int) -> list[int]:
    """The processes that it has started to serve."""
    children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
    return [child for child in children if b"spawn_main" in _command(child)]


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:  # it has ended
        return b""


@contextmanager
def two_processes(bundle: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with served_by_command(bundle, *TWO, *options) as served:
        yield served


@needs_two_cores
def test_two_processes_answer_at_one_address_and_are_counted_together(colour_bundle: Path) -> None:
    with two_processes(colour_bundle) as (process, url):
        assert len(serving(process.pid)) == 2
        assert {post(url, picture("red")).json()["label"] for _ in range(6)} == {"red"}
        numbers = httpx.get(f"{url}/metrics").text
        assert 'convsmith_images_total{model="model",status="200"} 6.0' in numbers
        assert len(re.findall(r"^process_resident_memory_bytes\{pid=", numbers, re.MULTILINE)) == 2


@needs_two_cores
def test_a_process_that_dies_is_started_again_while_the_other_answers(colour_bundle: Path) -> None:
    with two_processes(colour_bundle) as (process, url):
        before = serving(process.pid)
        os.kill(before[0], signal.SIGKILL)
        wait_until(lambda: before[0] not in serving(process.pid))
        assert post(url, picture("red")).status_code == 200
        wait_until(lambda: len(serving(process.pid)) == 2)
        assert post(url, picture("red")).status_code == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert "a process of the server ended, and is started again: its exit code is -9" in process.stderr.read()


@needs_two_cores
@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_all_of_them_in_order(colour_bundle: Path, number: signal.Signals) -> None:
    with two_processes(colour_bundle, "--drain-seconds", "0") as (process, _):
        children = serving(process.pid)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""
        assert [_command(child) for child in children] == [b"", b""]


@needs_two_cores
@pytest.mark.slow
def test_they_end_with_a_parent_that_is_killed(colour_bundle: Path) -> None:
    with two_processes(colour_bundle) as (process, _):
        children = serving(process.pid)
        process.kill()
        process.wait(PATIENCE)
        wait_until(lambda: not any(_command(child) for child in children))


@needs_two_cores
def test_a_model_that_cannot_be_loaded_is_told_once(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", model=b"no model")
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(bundle), "--port", "0", *TWO]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 2
    assert result.stderr.startswith("error: onnxruntime cannot load the model")
    assert result.stderr.count("cannot load") == 1


@pytest.mark.parametrize(
    ("workers", "threads", "processes", "cores", "expected"),
    [
        (None, None, 2, 2, (1, 1)),
        (None, None, 2, 16, (4, 2)),
        (None, None, 3, 16, (4, 1)),
        (1, None, 4, 16, (1, 4)),
        (None, 2, 4, 16, (2, 2)),
    ],
)
def test_processes_share_the_cores(
    workers: int | None, threads: int | None, processes: int, cores: int, expected: tuple[int, int]
) -> None:
    settings = share_out(Settings(workers=workers, threads=threads), processes, cores)
    assert (settings.workers, settings.threads) == expected


@pytest.mark.parametrize(("processes", "workers"), [(3, None), (2, 2)])
def test_more_processes_than_cores_are_refused(processes: int, workers: int | None) -> None:
    with pytest.raises(ConvsmithError, match=f"{processes} (takes|processes)"):
        share_out(Settings(workers=workers), processes, cores=2)


class Client:
    """Asks again and again until it is sent to another server; each request either has its answer or is lost."""

    def __init__(self, url: str, body: bytes, is_fresh: bool) -> None:
        self.statuses: list[int] = []
        self.lost: Exception | None = None
        self._address, self._body, self._is_fresh = urlsplit(url).netloc, body, is_fresh
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def end(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self.lost is None
        assert set(self.statuses) == {200}

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE)
        try:
            while True:
                headers = {"Content-Type": "multipart/form-data; boundary=b"}
                connection.request("POST", "/predict", self._body, headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses.append(answer.status)
                if answer.headers["Connection"] == "close":
                    return
                if self._is_fresh:
                    connection.close()
        except Exception as error:
            self.lost = error
        finally:
            connection.close()


def stop_under_load(bundle: Path, options: Sequence[str]) -> None:
    """Send SIGTERM while eight clients ask, half of whom open a connection for each request."""
    body = form(picture("red"))
    with served_by_command(bundle, "--drain-seconds", "0.5", *options) as (process, url):
        clients = [Client(url, body, number % 2 == 0) for number in range(8)]
        wait_until(lambda: all(len(client.statuses) > 2 for client in clients))
        process.send_signal(signal.SIGTERM)
        for client in clients:
            client.end()
        assert process.wait(PATIENCE) == 0


@needs_two_cores
@pytest.mark.parametrize("options", [(), TWO], ids=["one", "two"])
def test_sigterm_under_load_loses_no_request(colour_bundle: Path, options: Sequence[str]) -> None:
    stop_under_load(colour_bundle, options)


@needs_two_cores
@pytest.mark.slow  # 50 servers
@pytest.mark.parametrize("options", [(), TWO], ids=["one", "two"])
def test_sigterm_under_load_loses_no_request_in_25_servers(colour_bundle: Path, options: Sequence[str]) -> None:
    for _ in range(25):
        stop_under_load(colour_bundle, options)
