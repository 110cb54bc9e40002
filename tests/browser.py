"""Debian's Chromium, without a window and without asking any host by itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update",
    "--disable-sync",
]  # fmt: skip


@contextmanager
def chromium(*options: str) -> Iterator[Any]:
    """A browser of playwright's; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed here")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=shutil.which("chromium"), args=[*_OPTIONS, *options])
        yield found
        found.close()
