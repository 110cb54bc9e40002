"""convsmith serve: the process, its address, its signals."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from convsmith.serve.server import listen
from tests.colours import picture, write_colour_bundle
from tests.serve.running import (
    PATIENCE,
    connect,
    form,
    head_of_upload,
    post,
    read_answer,
    served_by_command,
    wait_until,
)


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_it_prints_its_address_and_a_curl_line(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle) as (process, url):
        assert process.stdout
        assert process.stdout.readline() == f"  curl -F image=@photo.jpg {url}/predict\n"
        assert post(url, picture("red")).json()["label"] == "red"


IMPORTED = """
import gc, sys
from convsmith.cli.main import main

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "fastapi":
            print(gc.isenabled())

sys.meta_path.insert(0, Finder())
try:
    main(["serve", "no-bundle"])
except SystemExit:
    print(gc.isenabled())
"""


def test_garbage_is_looked_for_when_all_is_imported() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order(colour_bundle: Path, number: signal.Signals) -> None:
    with served_by_command(colour_bundle, "--drain-seconds", "0") as (process, _):
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_signals_that_mean_nothing_here_do_nothing(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle) as (process, url):
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGUSR2)
        assert httpx.get(f"{url}/readyz").status_code == 200


def test_under_nohup_a_hangup_does_nothing(colour_bundle: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the child's too
    try:
        with served_by_command(colour_bundle) as (process, url):
            process.send_signal(signal.SIGHUP)
            assert httpx.get(f"{url}/readyz").status_code == 200
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_request_in_flight_at_sigterm_is_finished(colour_bundle: Path) -> None:
    body = form(picture("red"))
    with served_by_command(colour_bundle, "--drain-seconds", "0") as (process, url):
        with connect(url) as client:
            client.sendall(head_of_upload(f"Content-Length: {len(body)}") + body[:50])
            assert httpx.get(f"{url}/healthz").status_code == 200  # so the request before it has been taken
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
            client.sendall(body[50:])
            assert read_answer(client)[0] == 200
        assert process.wait(PATIENCE) == 0


def test_after_a_signal_it_serves_on_for_the_seconds_of_draining(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--drain-seconds", "2") as (process, url):
        assert_it_serves_on_after_sigterm(process, url)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def assert_it_serves_on_after_sigterm(process: subprocess.Popen[str], url: str) -> None:
    with httpx.Client(base_url=url, timeout=PATIENCE) as client:
        assert client.get("/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert client.get("/readyz").status_code == 503
        answer = client.post("/predict", files={"image": picture("red")})
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")


def test_sigterm_leaves_load_balancers_some_seconds_unless_told_otherwise(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle) as (process, url):
        assert_it_serves_on_after_sigterm(process, url)


def test_ctrl_c_ends_it_however_long_it_would_drain(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--drain-seconds", "1000000") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0


@pytest.mark.slow  # 5 seconds are left to uploads
def test_slow_uploads_at_sigterm_are_told_and_hold_it_for_seconds_only(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--drain-seconds", "0") as (process, url), ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(10)]
        for client in clients:
            client.sendall(head_of_upload("Content-Length: 1000") + b"--b")
        assert httpx.get(f"{url}/healthz").status_code == 200
        process.send_signal(signal.SIGTERM)
        for client in clients:
            status, answer, _ = read_answer(client)
            assert (status, answer.headers["Connection"]) == (408, "close")
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


UNREAD = ">(exec sleep 600 >/dev/null)"


@pytest.mark.parametrize("redirection", [">&- 2>&-", f"> {UNREAD} 2>/dev/full"], ids=["closed", "not read and full"])
def test_it_serves_and_ends_wherever_its_output_goes(colour_bundle: Path, redirection: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["bash", "-c", f'exec "$0" -m convsmith.cli.main serve "$1" --port {port} {redirection}', sys.executable]
    with subprocess.Popen([*command, colour_bundle], start_new_session=True) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: _is_ready(url))
            long = "x" * 100
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                assert {client.get(f"/{long}").status_code for _ in range(1200)} == {404}  # lines that fill the pipe
            assert post(url, picture("red")).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what does not read, too


def test_it_serves_where_no_file_can_be_written(colour_bundle: Path) -> None:
    def nowhere() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(colour_bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/", preexec_fn=nowhere) as process:
        try:
            assert process.stdout
            url = process.stdout.readline().split()[5].strip(",")
            assert post(url, picture("red", "BMP", size=(1000, 500))).json()["label"] == "red"
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"),
    reason="another user is for root alone to become",
)
def test_another_user_serves_on_a_file_system_that_is_read_only(colour_bundle: Path, open_folder: Path) -> None:
    bundle = shutil.copytree(colour_bundle, open_folder / "bundle")
    read_only = (
        'mount -o remount,bind,ro / || exit 77; touch "$0" 2>/dev/null && exit 77; '
        'exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs "$@"'
    )
    server = [sys.executable, "-m", "convsmith.cli.main", "serve", str(bundle), "--port", "0"]
    command = ["unshare", "--mount", "sh", "-c", read_only, str(open_folder / "written"), *server]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd="/") as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            if not line and process.wait(PATIENCE) in (1, 77):  # of unshare, of mount
                pytest.skip("this machine lets nobody have mounts of its own")
            assert Path(f"/proc/{process.pid}").stat().st_uid == 65534
            url = line.split()[5].strip(",")
            assert post(url, picture("red", "BMP", size=(1000, 500))).json()["label"] == "red"
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_in_use_is_an_error_of_two_lines(colour_bundle: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run(colour_bundle, "--port", str(taken.getsockname()[1]))
    assert result.returncode == 2
    assert "cannot listen on http://127.0.0.1" in result.stderr
    assert len(result.stderr.splitlines()) == 2


def test_a_host_that_does_not_exist_is_an_error(colour_bundle: Path) -> None:
    result = run(colour_bundle, "--host", "no.such.host.invalid", "--port", "0")
    assert result.returncode == 2
    assert "cannot listen" in result.stderr


def test_a_folder_that_is_no_bundle_is_an_error(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.returncode == 2
    assert "is not a bundle" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_model_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    result = run(write_colour_bundle(tmp_path / "bundle", model=b"no model"), "--port", "0")
    assert result.returncode == 2
    assert result.stderr.startswith("error: onnxruntime cannot load the model")
    assert "Traceback" not in result.stderr


def test_more_threads_than_cores_are_an_error(colour_bundle: Path) -> None:
    result = run(colour_bundle, "--workers", "1000")
    assert result.returncode == 2
    assert "--workers 1000 with --threads 1 takes 1000 cores" in result.stderr


def test_max_mb_limits_the_upload(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--max-mb", "0.05") as (_, url):
        assert post(url, bytes(60_000)).status_code == 413
        assert post(url, picture("red")).status_code == 200


def test_ipv6_is_spoken(colour_bundle: Path) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with served_by_command(colour_bundle, "--host", "::1") as (_, url):
        assert url.startswith("http://[::1]:")
        assert post(url, picture("red")).status_code == 200


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_a_connection_sends_small_answers_at_once() -> None:
    accepted: list[socket.socket] = []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.append(transport.get_extra_info("socket"))
            transport.write(b"!")  # type: ignore[attr-defined]

    async def connect() -> bool:
        server = await asyncio.get_running_loop().create_server(Accepted, sock=listen("127.0.0.1", 0))
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await reader.readexactly(1)
            no_delay = accepted[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            return bool(no_delay)

    assert asyncio.run(connect())
