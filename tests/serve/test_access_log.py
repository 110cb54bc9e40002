"""The log of requests: one line each, whatever a client sends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from convsmith.serve.access_log import log_request
from convsmith.serve.request_record import RequestRecord
from tests.colours import picture
from tests.serve.running import PATIENCE, connect, post, read_answer, served_by_command

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextmanager
def logging_json(bundle: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server whose standard output is its log alone."""
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(bundle), "--port", "0", "--access-log", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            address = re.search(r"http://\S+:\d+", process.stderr.readline())
            assert address
            yield process, address[0]
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def test_json_has_who_what_and_how_long(colour_bundle: Path) -> None:
    with logging_json(colour_bundle) as (process, url):
        content = picture("red")
        headers = {"X-Request-Id": "mine", "traceparent": TRACE}
        answer = httpx.post(f"{url}/predict?top=1", files={"image": content}, headers=headers)
        line = next_line(process)
    assert set(line.pop("stages")) == {"queue", "preprocess", "inference", "answer"}
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert 0 < line.pop("seconds") < PATIENCE
    assert len(content) < line.pop("bytes_in") < len(content) + 500
    assert line == {
        "request_id": "mine",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/predict",
        "model": "model",
        "version": "1",
        "images": 1,
        "status": 200,
        "bytes_out": len(answer.content),
    }


def test_every_request_is_one_line_of_json_whatever_it_says(colour_bundle: Path) -> None:
    sent = [
        b"GET /%0d%0afalse%20line HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%22,%22status%22:200 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%1b[2J%7f%c2%9b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b'GET /a HTTP/1.1\r\nHost: x\r\nX-Request-Id: "}\r\n\r\n',
        b"no request\r\n\r\n",
    ]
    statuses = []
    with logging_json(colour_bundle) as (process, url):
        for request in sent:
            with connect(url) as client:
                client.sendall(request)
                read_answer(client)
            assert process.stdout
            line = process.stdout.readline()
            assert line.strip().isprintable()
            assert line.isascii()
            assert len(line) < 700
            statuses.append(json.loads(line)["status"])
    assert statuses == [404] * 5 + [400]


def test_text_is_for_people(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle) as (process, url):
        assert process.stdout
        for _ in range(2):
            process.stdout.readline()  # how to ask it, and where it runs
        post(url, picture("red"))
        line = process.stdout.readline()
    assert re.fullmatch(r'\S+Z 127\.0\.0\.1 "POST /predict" 200 \d+\.\d ms model/1 [0-9a-f]{32}\n', line)


def test_text_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "convsmith.access")
    log_request("text")(RequestRecord(client="a\nb", method="GET", path='/" 200\r\n\x1b[31m', status=404))
    (line,) = caplog.messages
    assert line.isprintable()
    assert r'a\nb "GET /\" 200\r\n\u001b[31m" 404' in line


def test_it_can_be_off(colour_bundle: Path) -> None:
    with served_by_command(colour_bundle, "--access-log", "off", "--drain-seconds", "0") as (process, url):
        post(url, picture("red"))
        process.terminate()
        assert process.stdout
        assert "/predict 200" not in process.stdout.read().replace('"', "")


def test_no_other_form_is_known(colour_bundle: Path) -> None:
    command = [sys.executable, "-m", "convsmith.cli.main", "serve", str(colour_bundle), "--access-log", "yaml"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 2
    assert "'json', 'text', 'off'" in result.stderr
