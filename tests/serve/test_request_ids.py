"""Every answer says which request it belongs to, and which trace."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from convsmith.bundle.predictor import Bundle
from convsmith.serve.app import create_app
from tests.colours import picture
from tests.serve.running import connect, post, read_answer, served

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
MADE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("given", ["abc", "7f3c-11.2_x", "A/b+c=:@1", "x" * 64])
def test_a_request_id_is_taken(url: str, given: str) -> None:
    assert httpx.get(f"{url}/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "a b", 'a"b', "a\tb", "x" * 65, "é", "<script>", "%0a"])
def test_another_one_is_made_in_place_of_what_might_mislead(url: str, given: str) -> None:
    answer = httpx.get(f"{url}/healthz", headers={b"X-Request-Id": given.encode()})
    assert MADE.fullmatch(answer.headers["X-Request-Id"])


def test_no_two_requests_are_given_the_same_id(url: str) -> None:
    assert len({httpx.get(f"{url}/healthz").headers["X-Request-Id"] for _ in range(20)}) == 20


@pytest.mark.parametrize("path", ["/predict", "/nowhere", "/healthz?a=b"])
def test_refusals_have_it_too(url: str, path: str) -> None:
    answer = httpx.post(url + path, headers={"X-Request-Id": "mine", "traceparent": TRACE})
    assert 400 <= answer.status_code < 500
    assert (answer.headers["X-Request-Id"], answer.headers["traceparent"]) == ("mine", TRACE)


def test_a_fault_of_the_server_has_it_too(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(create_app(colour_bundle)) as (_, url):
        monkeypatch.setattr(Bundle, "logits", lambda *_: 1 / 0)
        answer = post(url, picture("red"))
    assert answer.status_code == 500
    assert MADE.fullmatch(answer.headers["X-Request-Id"])


def test_what_is_not_http_has_it_too(url: str) -> None:
    with connect(url) as client:
        client.sendall(b"no request\r\n\r\n")
        status, answer, _ = read_answer(client)
    assert status == 400
    assert MADE.fullmatch(answer.headers["X-Request-Id"])


def test_a_body_that_is_not_http_is_answered_with_the_id_of_its_request(url: str) -> None:
    with connect(url) as client:
        kind = b"Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked\r\n"
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine\r\n" + kind + b"\r\n1\r\n-\r\n!\r\n")
        status, answer, _ = read_answer(client)
    assert (status, answer.headers["X-Request-Id"]) == (400, "mine")


@pytest.mark.parametrize("given", [TRACE, TRACE[:-2] + "00", "cc" + TRACE[2:] + "-later"])
def test_a_trace_context_is_passed_through(url: str, given: str) -> None:
    assert httpx.get(f"{url}/healthz", headers={"traceparent": given}).headers["traceparent"] == given


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ff" + TRACE[2:],
        TRACE.upper(),
        TRACE + "-more",
        TRACE[:-1],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01",
        "cc" + TRACE[2:] + "-" + "x" * 600,
    ],
)
def test_one_that_is_not_valid_is_not(url: str, given: str) -> None:
    assert "traceparent" not in httpx.get(f"{url}/healthz", headers={"traceparent": given}).headers


def test_two_trace_contexts_are_none(url: str) -> None:
    answer = httpx.get(f"{url}/healthz", headers=[("traceparent", TRACE), ("traceparent", TRACE)])
    assert "traceparent" not in answer.headers
