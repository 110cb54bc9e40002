from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from convsmith.serve.app import create_app
from tests.serve.held_model import HeldModel
from tests.serve.running import served

MAX_BYTES = 200_000


@pytest.fixture(scope="module")
def url(colour_bundle: Path) -> Iterator[str]:
    """The address of a server that takes bodies of at most `MAX_BYTES`."""
    with served(create_app(colour_bundle, max_bytes=MAX_BYTES)) as (_, address):
        yield address


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> HeldModel:
    return HeldModel(monkeypatch)


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool
