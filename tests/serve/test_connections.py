"""Clients that are silent, slow, many or do not speak HTTP hold nobody else up, and are told why they are sent away."""

from __future__ import annotations

import json
import logging
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from convsmith.serve import body as body_of_requests
from convsmith.serve import connection, exchange, server, uploads
from convsmith.serve.app import create_app
from convsmith.serve.log import Calm
from convsmith.serve.uploads import Pace
from tests.colours import picture
from tests.serve.conftest import MAX_BYTES
from tests.serve.running import PATIENCE, connect, form, head_of_upload, post, read_answer, served, served_by_command


def assert_problem_and_end(client: socket.socket, status: int) -> None:
    found, answer, body = read_answer(client)
    assert found == status
    assert set(json.loads(body)) == {"error", "why", "fix"}
    assert answer.headers["Connection"] == "close"
    assert client.recv(1) == b""


@pytest.fixture(scope="module")
def hurried() -> Iterator[None]:
    """Time-outs in fractions of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "REQUEST_SECONDS", 0.3)
        patch.setattr(exchange, "LINGER", Pace(grace=0.3, rate=1e9, most=0.5))
        patch.setattr(body_of_requests, "UPLOAD", Pace(grace=0.3, rate=1_000_000, most=1))
        yield


@pytest.fixture(scope="module")
def hurried_url(colour_bundle: Path, hurried: None) -> Iterator[str]:
    with served(create_app(colour_bundle, max_bytes=MAX_BYTES)) as (_, address):
        yield address


def test_a_connection_that_asks_nothing_is_closed(hurried_url: str) -> None:
    with connect(hurried_url) as client:
        assert client.recv(1) == b""


def test_a_request_that_is_never_finished_is_408(hurried_url: str) -> None:
    with connect(hurried_url) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost:")
        assert_problem_and_end(client, 408)


def test_the_second_request_of_a_connection_has_no_more_time_than_the_first(hurried_url: str) -> None:
    with connect(hurried_url) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(client)[0] == 200
        client.sendall(b"G")
        assert_problem_and_end(client, 408)


def test_an_upload_that_stands_still_is_408(hurried_url: str) -> None:
    with connect(hurried_url) as client:
        client.sendall(head_of_upload("Content-Length: 1000") + b"--b")
        assert_problem_and_end(client, 408)


def test_an_upload_of_single_bytes_is_408(hurried_url: str) -> None:
    stop = threading.Event()

    def drip(client: socket.socket) -> None:
        try:
            for byte in form(picture("red")):
                client.sendall(b"1\r\n%c\r\n" % byte)
                stop.wait(0.02)
        except OSError:
            pass  # the server has closed the connection

    with connect(hurried_url) as client:
        client.sendall(head_of_upload("Transfer-Encoding: chunked"))
        dripping = threading.Thread(target=drip, args=(client,))
        dripping.start()
        status, _, body = read_answer(client)
        stop.set()
        dripping.join()
    assert (status, json.loads(body)["error"]) == (408, "the upload took too long")


def test_slow_uploads_take_no_place_of_the_others(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle, workers=1, threads=1, max_waiting=0)) as (_, url), ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(connect(url))
            client.sendall(head_of_upload("Content-Length: 1000") + b"--b")
        assert httpx.get(f"{url}/readyz").status_code == 200
        assert post(url, picture("red")).status_code == 200


def test_one_upload_more_than_there_may_be_ends_the_oldest(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST", 2)
    with served(create_app(colour_bundle)) as (_, url), ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(3)]
        for client in clients:
            client.sendall(head_of_upload("Content-Length: 1000") + b"--b")
            assert httpx.get(f"{url}/healthz").status_code == 200  # so the one before has been taken
        assert read_answer(clients[0])[0] == 408
        assert post(url, picture("red")).status_code == 200


NOT_HTTP = {
    "garbage": (b"\x00\xff\x16\x03\x01\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "protocol": (b"GET / XTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "length": (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", 400),
    "encoding": (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    "huge header": (b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"a" * 100_000, 431),
    "header": (b"GET / HTTP/1.1\r\nHost: x\r\n: a\r\n\r\n", 400),
    "method": (b"HEAD\x00 / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "chunk": (head_of_upload("Transfer-Encoding: chunked") + b"no number\r\n", 400),
    "second chunk": (head_of_upload("Transfer-Encoding: chunked") + b"1\r\n-\r\n!\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_is_answered_as_json(url: str, sent: bytes, status: int) -> None:
    with connect(url) as client:
        client.sendall(sent)
        assert_problem_and_end(client, status)


def test_what_is_not_http_after_an_answer_only_ends_the_connection(url: str) -> None:
    with connect(url) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(client)[0] == 200
        client.sendall(head_of_upload("Transfer-Encoding: chunked", path="/nowhere"))
        assert client.recv(12) == b"HTTP/1.1 404"
        client.sendall(b"no number\r\n" * 100)
        while client.recv(65536):
            pass
    assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize(
    "target", ["/healthz/", "/predict/", "//evil.example/", "/%ff", "*", "http://evil.example/", "/%0d%0aSet-Cookie:a"]
)
@pytest.mark.parametrize("host", ["evil.example", "[", "a:b:c", ""])
def test_no_address_leads_elsewhere_or_breaks_the_server(url: str, target: str, host: str) -> None:
    with connect(url) as client:
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, answer, body = read_answer(client)
    assert status == 404
    assert "Location" not in answer.headers
    assert json.loads(body)["error"] == "Not Found"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_probes_may_ask_for_the_head_only(url: str, path: str) -> None:
    answer = httpx.head(url + path)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Length"] == httpx.get(url + path).headers["Content-Length"]


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [("/predict", "multipart/form-data; boundary=b", 413), ("/predict", "text/plain", 422), ("/nowhere", "a/b", 404)],
)
@pytest.mark.parametrize("end", ["close", "keep-alive"])
def test_a_client_that_sends_all_before_it_reads_gets_to_see_why_it_is_refused(
    url: str, path: str, content_type: str, status: int, end: str
) -> None:
    size = 50 * MAX_BYTES
    with connect(url) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\n"
            f"Connection: {end}\r\nContent-Length: {size}\r\n\r\n".encode()
        )
        client.sendall(bytes(size))
        assert read_answer(client)[0] == status
        if end == "keep-alive":
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert read_answer(client)[0] == 200


def test_a_client_that_is_refused_and_goes_on_sending_is_cut_off(hurried_url: str) -> None:
    with connect(hurried_url) as client:
        client.sendall(head_of_upload("Transfer-Encoding: chunked", path="/nowhere"))
        with suppress(OSError):
            while True:
                client.sendall(b"1000\r\n" + bytes(0x1000) + b"\r\n")


def test_connections_that_ask_nothing_make_room_for_one_that_does(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 4)
    with served(create_app(colour_bundle)) as (_, url), ExitStack() as stack:
        silent = [stack.enter_context(connect(url)) for _ in range(12)]
        for client in silent[::2]:
            client.sendall(b"GET / HTTP/1.1\r\nHost")
        assert post(url, picture("red")).status_code == 200


def test_where_all_connections_are_at_work_one_more_is_503(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "most_connections", lambda: 1)
    with served(create_app(colour_bundle)) as (_, url), connect(url) as working:
        working.sendall(head_of_upload("Content-Length: 1000", "Expect: 100-continue"))
        assert working.recv(12) == b"HTTP/1.1 100"
        for _ in range(5):
            with connect(url) as client:
                assert_problem_and_end(client, 503)


def test_half_open_connections_beyond_the_descriptors_do_not_silence_the_server(colour_bundle: Path) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))

    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(colour_bundle), "--port", "0"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=few) as process,
        ExitStack() as stack,
    ):
        try:
            assert process.stdout
            url = process.stdout.readline().split()[5].strip(",")
            for _ in range(260):
                client = stack.enter_context(connect(url))
                client.sendall(b"GET /healthz HTTP/1.1\r\n")
            assert post(url, picture("red")).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 0
            assert process.stderr
            assert len(process.stderr.readlines()) < 10
        finally:
            process.kill()


def test_a_flood_of_warnings_is_one_line_a_second() -> None:
    calm, printed = Calm(), []
    for number in range(3000):
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "a.py", 1, "bad request", (), None)
        record.created = 100 + number / 1000
        if calm.filter(record):
            printed.append(record.getMessage())
    assert printed == ["bad request", "bad request (and 999 more)", "bad request (and 999 more)"]


def test_a_flood_of_forms_that_cannot_be_read_is_one_line_a_second(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--drain-seconds", "0") as (process, url):
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        with httpx.Client(base_url=url) as client:
            began = time.monotonic()
            assert {client.post("/predict", content=b"no form", headers=kind).status_code for _ in range(99)} == {422}
            seconds = time.monotonic() - began
        process.terminate()
        assert len(process.communicate(timeout=PATIENCE)[1].splitlines()) <= seconds + 2


def test_answers_are_not_counted_as_warnings() -> None:
    calm = Calm()
    assert all(
        calm.filter(logging.LogRecord("uvicorn.access", logging.INFO, "a.py", 1, "GET /", (), None)) for _ in range(9)
    )
