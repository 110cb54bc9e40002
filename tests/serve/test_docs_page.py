"""GET /docs: the addresses of a server, to read and try, where there is no network."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest


def test_the_page_shows_all_addresses_and_asks_no_other_host(browser: Any, url: str) -> None:
    tab, asked, complaints = browser.new_page(), list[str](), list[str]()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.goto(f"{url}/docs")
    tab.wait_for_selector("#operations-default-predict_predict_post")
    shown = {it.inner_text().strip() for it in tab.query_selector_all(".opblock-summary-path")}
    tab.close()
    assert {"/predict", "/readyz", "/v2/models/{name}/infer"} <= {it.replace("\u200b", "") for it in shown}
    assert {urlsplit(it).netloc for it in asked if not it.startswith("data:")} == {urlsplit(url).netloc}
    assert complaints == []


def test_its_policy_lets_it_ask_no_other_host(url: str) -> None:
    policy = httpx.get(f"{url}/docs").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


@pytest.mark.parametrize("name", ["favicon.ico", "../app.py", "swagger-ui.js", "%2e%2e/core.py"])
def test_it_has_no_other_files(url: str, name: str) -> None:
    assert httpx.get(f"{url}/docs/{name}").status_code == 404


def test_without_the_package_it_says_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr("importlib.resources.files", missing)
    answer = httpx.get(f"{url}/docs")
    assert answer.status_code == 404
    assert "fastapi-offline" in answer.json()["error"]
