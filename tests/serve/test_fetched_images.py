"""Images that are fetched by their address, in bounded time and size."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from convsmith.serve import addresses, fetch
from convsmith.serve.app import create_app
from tests.colours import picture
from tests.serve.conftest import MAX_BYTES
from tests.serve.running import PATIENCE, served
from tests.serve.test_bad_requests import assert_problem


class Site(BaseHTTPRequestHandler):
    """Images, and what else a server may answer."""

    protocol_version = "HTTP/1.1"
    release = threading.Event()

    def do_GET(self) -> None:
        name, _, query = self.path.lstrip("/").partition("?")
        if name == "moved":
            self._answer(302, b"", Location=query)
        elif name == "large":
            self._answer(200, bytes(MAX_BYTES + 1))
        elif name == "endless":
            self.send_response(200)
            self.end_headers()
            while not self.release.is_set():
                self.wfile.write(bytes(65536))
        elif name == "silent":
            self.release.wait(PATIENCE)
        elif name == "rubbish":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            self.close_connection = True
        elif name == "short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x")
            self.close_connection = True
        elif name.endswith(".png"):
            self._answer(200, picture(name[:-4]))
        else:
            self._answer(404, b"")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a `Site`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients leave in the middle
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Site.release.set()
    server.shutdown()


@contextmanager
def loopback_allowed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addresses, "is_public", lambda address: address == "127.0.0.1")
        yield


@pytest.fixture(scope="module")
def fetching_url(colour_bundle: Path, site: str) -> Iterator[str]:
    """A server that fetches from the `Site` as if it were public, and from wherever `elsewhere.test` is."""
    patterns = (site, "http://elsewhere.test")
    with loopback_allowed(), served(create_app(colour_bundle, allow_urls=patterns, max_bytes=MAX_BYTES)) as (_, url):
        yield url


def ask(url: str, *addresses: str) -> httpx.Response:
    value = {"url": addresses[0]} if len(addresses) == 1 else {"images": [{"url": it} for it in addresses]}
    return httpx.post(f"{url}/predict", json=value, timeout=PATIENCE)


def test_an_image_is_fetched_and_answered(fetching_url: str, site: str) -> None:
    assert ask(fetching_url, f"{site}/blue.png").json()["label"] == "blue"


def test_several_are_answered_in_order_under_their_addresses(fetching_url: str, site: str) -> None:
    found = ask(fetching_url, f"{site}/red.png", f"{site}/none", f"{site}/blue.png?size=1").json()["predictions"]
    assert [it["name"] for it in found] == [f"{site}/red.png", f"{site}/none", f"{site}/blue.png?size=1"]
    assert (found[0]["label"], found[1]["error"]["why"], found[2]["label"]) == ("red", "127.0.0.1 answers 404", "blue")


def test_a_redirection_is_followed_to_what_is_allowed(fetching_url: str, site: str) -> None:
    assert ask(fetching_url, f"{site}/moved?/red.png").json()["label"] == "red"


@pytest.mark.parametrize(
    ("target", "status"),
    [("http://other.test/a.png", 403), ("file:///etc/passwd", 422), ("/moved?/moved?/moved?/moved?/red.png", 422)],
)
def test_a_redirection_to_elsewhere_or_without_end_is_refused(
    fetching_url: str, site: str, target: str, status: int
) -> None:
    assert_problem(ask(fetching_url, f"{site}/moved?{target}"), status)


@pytest.mark.parametrize(
    ("path", "status"), [("large", 413), ("endless", 413), ("rubbish", 422), ("short", 422), ("none", 422)]
)
def test_what_is_not_an_image_of_bounded_size_gets_one_clear_answer(
    fetching_url: str, site: str, path: str, status: int
) -> None:
    assert_problem(ask(fetching_url, f"{site}/{path}"), status)


def test_the_images_of_one_request_are_bounded_together(fetching_url: str, site: str) -> None:
    found = ask(fetching_url, f"{site}/red.png", *[f"{site}/large"] * 2).json()["predictions"]
    assert [it["error"]["status"] for it in found[1:]] == [413, 413]


def test_a_site_that_says_nothing_is_left(fetching_url: str, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SECONDS", 0.2)
    answer = ask(fetching_url, f"{site}/silent")
    assert_problem(answer, 422)
    assert "takes more than" in answer.json()["why"]


def test_another_port_is_another_site(fetching_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert_problem(ask(fetching_url, f"http://127.0.0.1:{port}/a.png"), 403)


def test_what_a_name_stands_for_is_looked_at_and_connected_to(
    fetching_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    getaddrinfo = socket.getaddrinfo

    def rebinding(host: str, *rest: Any, **more: Any) -> Any:
        if host != "elsewhere.test":
            return getaddrinfo(host, *rest, **more)
        asked.append(host)
        place = "10.0.0.1" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, 80))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    answer = ask(fetching_url, "http://elsewhere.test/red.png")
    assert_problem(answer, 403)
    assert asked == ["elsewhere.test"]
    assert "10.0.0.1" not in answer.text


def test_without_the_option_nothing_is_fetched(url: str, site: str) -> None:
    answer = ask(url, f"{site}/red.png")
    assert_problem(answer, 403)
    assert "--allow-urls" in answer.json()["why"]
