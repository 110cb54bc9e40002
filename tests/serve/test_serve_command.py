"""convsmith serve: the process, its address, its signals."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from convsmith.serve.server import listen
from tests.colours import picture, write_colour_bundle
from tests.serve.running import PATIENCE, post, served_by_command, wait_until


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_it_prints_its_address_and_a_curl_line(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle) as (process, url):
        assert process.stdout
        assert process.stdout.readline() == f"  curl -F image=@photo.jpg {url}/predict\n"
        assert post(url, picture("red")).json()["label"] == "red"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(colour_bundle: Path, number: signal.Signals) -> None:
    with served_by_command(colour_bundle) as (process, _):
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_request_in_flight_at_sigterm_is_finished(colour_bundle: Path) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture("red") + b"\r\n--b--\r\n"
    )
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with served_by_command(colour_bundle) as (process, url):
        address = urlsplit(url)
        with socket.create_connection((address.hostname, address.port or 0), PATIENCE) as client:
            client.sendall(head.encode() + body[:50])
            assert httpx.get(f"{url}/healthz").status_code == 200  # so the request before it has been taken
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 503)
            client.sendall(body[50:])
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert process.wait(PATIENCE) == 0


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
