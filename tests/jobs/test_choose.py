"""What `train` leaves to the choice: the recipe where none is named, the place where none is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convsmith.analyze import chosen
from convsmith.analyze.choice import Choice
from convsmith.jobs.train import _choose


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The arguments of each call of the choice, which always chooses the same."""
    calls: list[tuple[Any, ...]] = []

    def choose(*arguments: Any) -> Choice:
        calls.append(arguments)
        return Choice("digits", ("batch.size=8",), ())

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chosen, "choose_for_run", choose)
    return calls


def test_a_recipe_that_is_named_is_told_to_the_choice(asked: list[tuple[Any, ...]]) -> None:
    chose = _choose("digits", "photos", None, ["seed=1"], start=["model.weights=x"], minutes=2.0, said=None)
    assert chose == ("digits", ["batch.size=8", "seed=1"], Path("runs/digits"))
    assert asked == [(Path("photos"), Path("runs/digits"), ["seed=1", "model.weights=x"], "digits", 2.0)]


def test_where_none_is_named_the_choice_is_free_and_the_run_has_the_name_of_the_data(
    asked: list[tuple[Any, ...]],
) -> None:
    assert _choose(None, "photos", None, [], start=[], minutes=None, said=None)[2] == Path("runs/photos")
    assert asked == [(Path("photos"), Path("runs/photos"), [], None, None)]


def test_a_place_that_is_given_is_kept(asked: list[tuple[Any, ...]]) -> None:
    assert _choose(None, "photos", "here", [], start=[], minutes=None, said=None)[2] == Path("here")
    assert asked[0][1] == Path("here")
