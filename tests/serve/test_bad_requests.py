"""Whatever is sent, the answer is a status of the 4xx kind with a JSON body, and the server goes on."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bundle.test_decode_damage import png
from tests.colours import picture
from tests.serve.conftest import MAX_BYTES
from tests.serve.running import PATIENCE, post

FORM = "multipart/form-data; boundary=b"


def send(url: str, body: bytes | Iterator[bytes], content_type: str = FORM) -> httpx.Response:
    return httpx.post(f"{url}/predict", content=body, headers={"Content-Type": content_type}, timeout=PATIENCE)


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "why", "fix"}
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, world",
        b"\x00\xff" * 500,
        b"%PDF-1.7",
        picture("red", "JPEG")[:-40],
        picture("red")[:30],
        b"GIF89a",
    ],
    ids=["empty", "text", "garbage", "pdf", "truncated jpeg", "truncated png", "header only"],
)
def test_what_is_not_a_readable_image_is_415(url: str, content: bytes) -> None:
    assert_problem(post(url, content), 415)


def test_the_reason_is_told(url: str) -> None:
    assert "not an image of a known kind" in post(url, b"hello").json()["why"]


@pytest.mark.parametrize("size", [(100_000, 100_000), (8193, 8192)])
def test_an_image_of_too_many_pixels_is_413(url: str, size: tuple[int, int]) -> None:
    assert_problem(post(url, png(*size)), 413)


def test_a_strip_that_would_become_huge_is_413(url: str) -> None:
    assert_problem(post(url, picture("red", size=(2_000_000, 1))), 413)


def test_a_body_that_announces_too_much_is_413_before_it_is_sent(url: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0), PATIENCE) as client:
        client.sendall(
            f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 99999999999\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_file_over_the_limit_is_413(url: str) -> None:
    assert_problem(post(url, bytes(MAX_BYTES)), 413)


def test_a_body_of_exactly_the_limit_is_taken(url: str) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + picture("red")
    tail = b"\r\n--b--\r\n"
    filling = bytes(MAX_BYTES - len(head) - len(tail))
    assert send(url, head + filling + tail).status_code == 200
    assert_problem(send(url, head + filling + b"\0" + tail), 413)


def test_chunks_that_add_up_to_too_much_are_413(url: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        for _ in range(5 * MAX_BYTES // 1000):
            yield bytes(1000)
        yield b"\r\n--b--\r\n"

    assert_problem(send(url, chunks()), 413)


def test_an_endless_upload_is_answered_413_while_it_goes_on(url: str) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0), PATIENCE) as client:
        client.sendall(
            f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
        client.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        sent = 0
        while not select.select([client], [], [], 0)[0]:
            client.sendall(b"1000\r\n" + bytes(0x1000) + b"\r\n")
            sent += 0x1000
        assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert sent > MAX_BYTES // 2


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "multipart/form-data"),
        (b"", FORM),
        (b"garbage", FORM),
        (b"--b--\r\n", FORM),
        (b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\nx\r\n--b--\r\n', FORM),
        (b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\ntext\r\n--b--\r\n', FORM),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\ntext\r\n--b--\r\n", FORM),
        (b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\nx', FORM),
        (b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--b--\r\n', FORM + "; charset=undefined"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' * 30 + b"--b--\r\n", FORM),
        (b"", "image/png"),
        (b"", "application/octet-stream"),
        (picture("red"), "text/plain"),
        (b"image=abc", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
    ],
)
def test_a_request_without_an_image_file_is_422(url: str, body: bytes, content_type: str) -> None:
    assert_problem(send(url, body, content_type), 422)


def test_a_request_without_an_image_says_how_to_send_one(url: str) -> None:
    assert "curl -F image=@" in send(url, b"", "text/plain").json()["fix"]


@pytest.mark.parametrize("top", ["0", "-1", "many", "1.5", "9" * 5000, ""])
def test_a_top_that_is_no_positive_number_is_422(url: str, top: str) -> None:
    answer = post(url, picture("red"), query=f"?top={top}")
    assert_problem(answer, 422)
    assert answer.json()["error"] == "top is not valid"


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?flip=true", "there is no query parameter `flip`"),
        ("?tpo=3", "there is no query parameter `tpo`; did you mean `top`?"),
        ("?top=1&Top=2", "there is no query parameter `Top`; did you mean `top`?"),
        ("?top=1&top=2", "the query parameter `top` is given 2 times"),
        ("?image=a.jpg", "there is no query parameter `image`"),
        ("?=3", "there is no query parameter ``"),
    ],
)
def test_a_query_that_would_be_ignored_is_422(url: str, query: str, error: str) -> None:
    answer = post(url, picture("red"), query=query)
    assert_problem(answer, 422)
    assert answer.json()["error"] == error


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_no_route_ignores_a_query(url: str, path: str) -> None:
    assert httpx.get(url + path).status_code == 200
    assert_problem(httpx.get(f"{url}{path}?top=3"), 422)


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (["image"] * 17, "there are too many images in the request"),
        (["image", "imag"], "there is no form field `imag`; did you mean `image`?"),
        (["photo"], "there is no form field `photo`"),
    ],
)
def test_too_many_images_or_another_field_are_422(url: str, names: list[str], error: str) -> None:
    files = [(name, ("a.png", picture("red"))) for name in names]
    answer = httpx.post(f"{url}/predict", files=files, timeout=PATIENCE)
    assert_problem(answer, 422)
    assert answer.json()["error"] == error


def test_a_parameter_in_the_form_is_422_and_told_where_it_goes(url: str) -> None:
    answer = httpx.post(f"{url}/predict", files={"image": ("a.png", picture("red"))}, data={"top": "1"})
    assert_problem(answer, 422)
    assert answer.json()["fix"] == "Put it into the address: /predict?top=..."


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("GET", "/x", 404),
        ("PUT", "/", 405),
        ("POST", "/predict/", 404),
        ("GET", "/v2/", 404),
    ],
)
def test_what_is_not_served_is_answered_as_json_too(url: str, method: str, path: str, status: int) -> None:
    assert_problem(httpx.request(method, url + path), status)


def test_a_client_that_leaves_in_mid_upload_harms_nobody(url: str) -> None:
    address = urlsplit(url)
    for _ in range(5):
        with socket.create_connection((address.hostname, address.port or 0), PATIENCE) as client:
            client.sendall(
                f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 1000\r\n\r\n--b".encode()
            )
    assert post(url, picture("red")).status_code == 200


PIECES = [
    b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b"Content-Disposition: form-data", b'; name="image"', b":", b'"',
    b'; filename="a"', b"Content-Type: text/plain; charset=idna", b"; filename*=utf-8''%ff", picture("red"),
]  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=14).map(b"".join),
    st.sampled_from(
        ["", "; charset=undefined", "; charset=idna", "; charset=utf-16", "; charset=base64", "; charset="]
    ),
)
def test_no_form_whatever_breaks_the_server(url: str, body: bytes, charset: str) -> None:
    answer = send(url, body, FORM + charset)
    assert answer.status_code in (200, 415, 422)
