"""What the section `data` refuses, and what it lets pass beside it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from convsmith.recipe.columns import Columns
from convsmith.recipe.data import Data

FOLDS = "fold is 3, but the 3 folds are numbered 0 to 2"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"fold": 0}, "fold names one of some folds: set data.folds, their number"),
        ({"folds": 3, "fold": 3}, FOLDS),
        ({"cache": "memory", "decode": "scaled"}, "data.cache keeps whole images, but data.decode is scaled"),
        ({"cache_size": "many"}, "cache_size is `many`: write it as 500MB or 64GB"),
        ({"pattern": "("}, "'(' is not a regular expression"),
        ({"pattern": "(.*)"}, "must name what it finds"),
        ({"pattern": "(?P<label>a)(?P<other>b)"}, "must name what it finds"),
    ],
    ids=str,
)
def test_keys_that_contradict_one_another_are_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Data(**keys)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "keys",
    [
        {"folds": 3},
        {"folds": 3, "fold": 2},
        {"folds": 3, "fold": 0},
        {"cache": "memory"},
        {"decode": "scaled"},
        {"pattern": "(?P<label>a)"},
        {"pattern": "(?P<group>a)"},
        {"pattern": "(?P<group>a)(?P<label>b)"},
    ],
    ids=str,
)
def test_what_agrees_passes(keys: dict[str, Any]) -> None:
    assert Data(**keys).model_dump(include=set(keys)) == keys


def test_a_column_has_the_name_that_is_said_or_a_usual_one() -> None:
    columns = Columns(label="Diagnosis")
    assert columns.names("label", ("label", "class")) == ("Diagnosis",)
    assert columns.names("image", ("image", "file")) == ("image", "file")
