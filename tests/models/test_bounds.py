"""The numbers of these modules, of which each was measured, or promised to somebody."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bounds import NAME, bounds_of


def test_a_bound_is_changed_only_where_that_is_meant() -> None:
    known = json.loads(Path(__file__).with_name(NAME).read_text())
    assert bounds_of("models") == known, "is it meant? `python -m tests.bounds` writes all numbers anew"
