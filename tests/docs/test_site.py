"""The site as a person sees it in Chromium: on a phone and on a wide screen, light and dark."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import convsmith as cs
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="zensical is not installed: make docs")
    subprocess.run([sys.executable, REPOSITORY / "tools/docs.py"], check=True, cwd=tmp_path_factory.mktemp("anywhere"))
    return REPOSITORY / "site" / cs.__version__


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_is_built_without_a_broken_link(site: Path) -> None:
    assert (site / "reference/python/index.html").is_file()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_no_page_is_too_wide_or_keeps_people_out(browser: Any, site: Path, url: str, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    found = {}
    for page in sorted(site.rglob("index.html")):
        name = str(page.parent.relative_to(site))
        tab.goto(f"{url}/{name}/")
        too_wide = tab.evaluate("document.documentElement.scrollWidth") - width
        violations = axe.run(tab, options={"resultTypes": ["violations"]}).response["violations"]
        barriers = [
            (it["id"], it["nodes"][0]["html"][:200]) for it in violations if it["impact"] in ("serious", "critical")
        ]
        if too_wide > 0 or barriers:
            found[name] = (too_wide, barriers)
    tab.close()
    assert found == {}
