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


@pytest.mark.parametrize(
    ("there", "out", "is_said"), [(False, None, True), (False, "here", False), (True, None, False)]
)
@pytest.mark.usefixtures("asked")
def test_a_run_of_the_recipe_s_name_is_pointed_out_to_who_begins_a_new_one(
    there: bool, out: str | None, is_said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in ("runs/digits", *(["runs/photos"] if there else [])):
        (Path(run) / "checkpoints").mkdir(parents=True)
        (Path(run) / "recipe.yaml").touch()
    _choose(None, "photos", out, [], start=[], minutes=None, said={"--shard": "", "--extend": None})
    told = capsys.readouterr().err
    assert ("runs/digits holds a run: if it is of these images" in told) is is_said
    assert told.splitlines()[-1].endswith("--shard batch.size=8")
