from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.recipe.ladder import is_ladder, load_ladder
from convsmith.recipe.load import load_recipe
from convsmith.recipe.packaged import list_recipes, packaged
from tests.recipe.examples import WHOLE, write

STEPS = {
    "whole": WHOLE,
    "cosine": "extends: whole.yaml\nschedule: {name: cosine, warmup_epochs: 2}",
    "smooth": "extends: cosine.yaml\nloss: {label_smoothing: 0.1}",
}
LADDER = "description: an example\nsteps:\n  - whole.yaml\n  - cosine.yaml\n  - ./smooth.yaml\n"


def error_of(source: str | Path, *overrides: str) -> str:
    with pytest.raises(ConvsmithError) as caught:
        load_ladder(source, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "start", "pattern"),
    [("cifar10", "cifar10-baseline", "cifar10-ladder-*"), ("resnet50-in1k", "resnet50-in1k", "resnet50-ladder-*")],
)
def test_a_packaged_ladder_has_every_step_of_the_library(name: str, start: str, pattern: str) -> None:
    assert [step.name for step in load_ladder(name).steps] == [start, *list_recipes(pattern)]


@pytest.mark.parametrize("name", packaged("ladders"))
def test_each_step_of_a_packaged_ladder_changes_something(name: str) -> None:
    first, *others = load_ladder(name).steps
    assert first.changes == {}
    assert all(step.changes for step in others)


def test_the_steps_are_files_beside_the_ladder(tmp_path: Path) -> None:
    ladder = load_ladder(write(tmp_path, **STEPS, mine=LADDER))
    assert (ladder.name, ladder.description) == ("mine", "an example")
    assert [step.name for step in ladder.steps] == ["whole", "cosine", "smooth"]
    assert ladder.steps[2].recipe == load_recipe(tmp_path / "smooth.yaml")


def test_a_step_names_the_recipe_that_trains_it(tmp_path: Path) -> None:
    ladder = load_ladder(write(tmp_path, **STEPS, mine=LADDER), ["seed=3"])
    assert [load_recipe(step.source, ["seed=3"]) for step in ladder.steps] == [step.recipe for step in ladder.steps]
    assert load_ladder("cifar10").steps[0].source == "cifar10-baseline"


def test_a_ladder_is_told_from_a_recipe(tmp_path: Path) -> None:
    ladder = write(tmp_path, **STEPS, mine=LADDER)
    assert is_ladder(str(ladder))
    assert is_ladder("cifar10")
    others = ("digits", "cifar11", str(tmp_path / "whole.yaml"), str(tmp_path / "missing.yaml"))
    assert not any(map(is_ladder, others))


def test_changes_are_what_a_step_says_otherwise_than_the_one_before(tmp_path: Path) -> None:
    steps = STEPS | {"smooth": f"{STEPS['smooth']}\nseed: 0\nbatch: {{size: 128}}\ndescription: smooth"}
    ladder = load_ladder(write(tmp_path, **steps, mine=LADDER))
    assert [step.changes for step in ladder.steps] == [
        {},
        {"schedule.warmup_epochs": 2.0},
        {"loss.label_smoothing": 0.1},
    ]


def test_overrides_are_for_all_steps_and_no_change_of_one(tmp_path: Path) -> None:
    ladder = load_ladder(write(tmp_path, **STEPS, mine=LADDER), ["schedule.epochs=4", "schedule.warmup_epochs=1"])
    assert {step.recipe.schedule.epochs for step in ladder.steps} == {4}
    assert [step.changes for step in ladder.steps] == [{}, {}, {"loss.label_smoothing": 0.1}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("description: x\nstep: [a, b]", ":2: unknown key `step`; did you mean `steps`?"),
        ("description: x\nzoo: 1\nsteps: [a, b]", ":2: unknown key `zoo`; a ladder has description, steps"),
        ("description: x", ": `steps` is missing: At least two recipes"),
        ("steps: [a, b]", ": `description` is missing: One line"),
        ("description: 1\nsteps: [a, b]", ":1: `description` must be text"),
        ("description: x\nsteps: [a, 1]", ":2: `steps[1]` must be text"),
        ("description: x\nsteps: [a]", ":2: `steps` must be a list of at least two recipes"),
        ("description: x\nsteps: a", ":2: `steps` must be a list of at least two recipes"),
        ("- a\n- b", " is not a ladder: a ladder is a mapping with `description` and `steps`"),
        ("description: x\n\nsteps: [digits, digit]", ":3: `digit` is not a packaged recipe; did you mean `digits`?"),
        ("description: x\n\nsteps: [digits, gone.yaml]", ":3: there is no file "),
        ("description: x\n\nsteps: [digits, digits]", ":3: two steps are called `digits`"),
    ],
)
def test_a_problem_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    file = write(tmp_path, mine=text)
    assert f"{file}{problem}" in error_of(file)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    assert len(error_of(write(tmp_path, mine="descripton: x\nsteps: [a]")).splitlines()) == 3


def test_a_problem_of_a_step_is_named_with_the_ladder_and_the_recipe(tmp_path: Path) -> None:
    file = write(tmp_path, **STEPS | {"smooth": "extends: cosine.yaml\nlos: {}"}, mine=LADDER)
    assert error_of(file).startswith(f"{file}:2: {tmp_path / 'smooth.yaml'}:2: unknown key `los`")


def test_an_unknown_name_is_an_error_that_says_which_there_are() -> None:
    assert error_of("cifar1") == (
        "`cifar1` is not a packaged ladder; did you mean `cifar10`?\n"
        "There are cifar10 and resnet50-in1k; the name of a file of your own ends in .yaml."
    )


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert error_of(tmp_path / "gone.yaml").endswith("gone.yaml cannot be read: No such file or directory")


def test_the_run_of_a_step_lies_in_its_folder(tmp_path: Path) -> None:
    first = load_ladder(write(tmp_path, **STEPS, mine=LADDER)).steps[0]
    assert first.runs(Path("out")) == [(Path("out/whole"), first.recipe)]


def test_a_step_over_all_folds_has_a_run_for_each_of_them(tmp_path: Path) -> None:
    file = write(tmp_path, **STEPS, mine=LADDER)
    step = load_ladder(file, ["data.folds=3"]).steps[1]
    runs = step.runs(Path("out"))
    assert [folder.as_posix() for folder, _ in runs] == [f"out/cosine/fold-{number}" for number in range(3)]
    assert [recipe for _, recipe in runs] == [
        load_recipe(step.source, ["data.folds=3", f"data.fold={number}"]) for number in range(3)
    ]
    one = load_ladder(file, ["data.folds=3", "data.fold=1"]).steps[1]
    assert one.runs(Path("out")) == [(Path("out/cosine"), one.recipe)]


def test_a_recipe_alone_is_a_ladder_of_one_step(tmp_path: Path) -> None:
    for source, name in (("digits", "digits"), (str(write(tmp_path, **STEPS)), "smooth")):
        (step,) = (ladder := load_ladder(source, ["seed=3"])).steps
        assert (ladder.name, step.name, step.source, step.changes) == (name, name, source, {})
        assert step.recipe == load_recipe(source, ["seed=3"])
        assert ladder.description == step.recipe.description


def test_a_ladder_that_also_names_a_model_is_told_what_is_wrong_in_it(tmp_path: Path) -> None:
    assert ":2: unknown key `model`" in error_of(write(tmp_path, mine="steps: [digits, digits]\nmodel: {}"))
