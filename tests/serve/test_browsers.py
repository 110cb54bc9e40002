"""What browsers are told, and which pages may read answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from convsmith.bundle.predictor import Bundle
from convsmith.errors import ConvsmithError
from convsmith.serve.app import create_app
from tests.colours import picture
from tests.serve.running import connect, post, read_answer, served

SHOP = "https://shop.example.org"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/openapi.json", "/nowhere", "/predict"])
def test_answers_have_the_headers_that_browsers_want(url: str, path: str) -> None:
    answer = httpx.get(url + path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_predictions_are_kept_by_no_cache(url: str) -> None:
    assert post(url, picture("red")).headers["Cache-Control"] == "no-store"


def test_faults_have_them_too(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(create_app(colour_bundle)) as (_, url):
        monkeypatch.setattr(Bundle, "logits", lambda *_: 1 / 0)
        assert post(url, picture("red")).headers["X-Content-Type-Options"] == "nosniff"


def test_so_has_what_is_not_http(url: str) -> None:
    with connect(url) as client:
        client.sendall(b"no request\r\n\r\n")
        assert read_answer(client)[1].headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_says_itself_what_it_may_load(url: str) -> None:
    assert "script-src 'self'" in httpx.get(f"{url}/").headers["Content-Security-Policy"]


@pytest.fixture(scope="module")
def shared(colour_bundle: Path) -> Iterator[str]:
    with served(create_app(colour_bundle, cors_origins=(SHOP, "http://localhost:5173"), rate="1000/s")) as (_, url):
        yield url


@pytest.mark.parametrize("origin", [SHOP, "http://localhost:5173"])
def test_a_page_of_a_named_origin_may_read_answers(shared: str, origin: str) -> None:
    answer = httpx.post(f"{shared}/predict", files={"image": picture("red")}, headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert "Origin" in answer.headers["Vary"]
    assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [SHOP.upper(), f"{SHOP}.evil", "http://shop.example.org", f"{SHOP}:8443", "null", "http://localhost"]
)
def test_a_page_of_another_one_may_not(shared: str, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in httpx.get(f"{shared}/healthz", headers={"Origin": origin}).headers


def test_it_may_read_refusals_too(shared: str) -> None:
    answer = httpx.post(f"{shared}/predict", headers={"Origin": SHOP})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (422, SHOP)


def test_a_browser_that_asks_first_is_answered_without_a_token(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a" * 32)
    app = create_app(colour_bundle, cors_origins=(SHOP,), token_file=tmp_path / "tokens")
    asks = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    with served(app) as (_, url):
        answer = httpx.options(f"{url}/predict", headers=asks)
        assert answer.status_code == 200
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
        assert httpx.post(f"{url}/predict", headers={"Origin": SHOP}).headers["Access-Control-Allow-Origin"] == SHOP


def test_no_page_may_where_none_is_named(url: str) -> None:
    answer = httpx.get(f"{url}/healthz", headers={"Origin": SHOP})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    asks = {"Origin": SHOP, "Access-Control-Request-Method": "POST"}
    assert httpx.options(f"{url}/predict", headers=asks).status_code == 405


@pytest.mark.parametrize(
    "origin", ["*", "null", "shop.example.org", f"{SHOP}/", f"{SHOP}/a", "", "ftp://a", f"{SHOP}\n"]
)
def test_what_is_not_an_origin_is_an_error(colour_bundle: Path, origin: str) -> None:
    with pytest.raises(ConvsmithError, match="is not an origin"):
        create_app(colour_bundle, cors_origins=(origin,))
