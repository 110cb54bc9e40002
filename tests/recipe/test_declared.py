"""Dataclasses are values, which nothing changes once they are made, but for those named here."""

from __future__ import annotations

from tests.declared import dataclasses_that_are_no_plain_values


def test_what_is_made_once_cannot_be_changed_but_for_what_is_filled_step_by_step() -> None:
    assert dataclasses_that_are_no_plain_values("recipe") == {
        "LearningRates": "frozen=True, eq=False",
        "Plan": "frozen=True, repr=False",
        "WeightDecays": "frozen=True, eq=False",
    }
