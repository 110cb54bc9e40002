"""Chromium, and a page that shows answers with the parts that pages share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.analyze.report.test_in_browser import OPTIONS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed here")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        yield found
        found.close()
