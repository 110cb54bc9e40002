"""How many epochs fit into a time, and what is tried where few do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convsmith.analyze import fit_to_time as module
from convsmith.analyze.choice import Choice
from convsmith.analyze.chosen import choose_for_run
from convsmith.analyze.fit_to_time import fit_to_time
from convsmith.analyze.measure_pace import measure_pace
from convsmith.analyze.time_budget import ENOUGH, Pace, fit
from convsmith.cli.main import main
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.training.run import Run
from tests.training.conftest import SMALL

PACE = Pace(step=0.1, steps=100, validation=1.0, checkpoint=0.2, fixed=20.0, usual=30)  # 10 s an epoch


@given(
    step=st.floats(0.001, 5),
    steps=st.integers(1, 2000),
    validation=st.floats(0, 30),
    checkpoint=st.floats(0, 2),
    fixed=st.floats(1, 60),
)
def test_what_fits_fills_the_time_and_is_not_longer(
    step: float, steps: int, validation: float, checkpoint: float, fixed: float
) -> None:
    pace = Pace(step, steps, validation, checkpoint, fixed, usual=30)
    found = fit([pace], 300)
    assert found.seconds <= 300
    if step < 1:  # else a step more or less is what is between
        assert found.seconds >= 240


def test_the_recipe_is_kept_where_enough_epochs_of_it_fit() -> None:
    assert fit([PACE, replace(PACE, step=0.05)], 300).pace == 0


def test_a_faster_recipe_is_taken_where_few_epochs_fit() -> None:
    assert fit([replace(PACE, step=1.0), replace(PACE, step=0.3)], 300).pace == 1


def test_a_recipe_of_few_epochs_needs_no_more_than_it_has() -> None:
    slow = replace(PACE, step=1.0, usual=2)
    assert (fit([slow, PACE], 300).pace, fit([slow, PACE], 300).epochs) == (0, 2)


def test_where_even_the_fastest_is_too_slow_it_learns_from_a_share_of_the_images() -> None:
    found = fit([replace(PACE, step=10.0)], 300)  # 1000 s an epoch
    assert (found.epochs, found.eval_every) == (1, 1)
    assert found.fraction == pytest.approx(0.26, abs=0.01)


def test_time_for_no_epoch_at_all_is_an_error_that_says_how_much_would_do() -> None:
    slow = replace(PACE, validation=600.0)
    with pytest.raises(ConvsmithError, match=r"5.0 minutes are not enough") as refused:
        fit([slow], 300)
    minutes = float(refused.value.fix.split()[2])
    assert fit([slow], 60 * minutes).epochs >= 1


def test_validations_that_take_long_are_rare() -> None:
    rare = fit([replace(PACE, validation=10.0)], 1000)
    assert rare.eval_every == 4
    assert rare.epochs // rare.eval_every >= ENOUGH
    assert fit([PACE], 1000).eval_every == 1


def test_twice_the_time_buys_twice_the_epochs() -> None:
    assert fit([PACE], 2000).epochs == pytest.approx(2 * fit([PACE], 1000).epochs, abs=4)


@pytest.fixture
def speed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds of a step at 224 x 224 pixels of each recipe, in proportion to the pixels, instead of measurements."""
    speeds = {"resnet18-folder": 0.1, "hrnet_w18_seg-folder": 1.0, "resnet18_fcn-folder": 0.3}

    def measured(recipe: Recipe, *_: object, all_stages: bool) -> Pace:
        height, width = recipe.augment.size
        name = next(
            name for name in speeds if name != "validation" and load_recipe(name).model.name == recipe.model.name
        )
        step = speeds[name] * height * width / 224**2
        judging = speeds.get("validation", PACE.validation)
        return replace(
            PACE, step=step, validation=judging, usual=recipe.schedule.epochs, fixed=PACE.fixed + 100 * all_stages
        )

    monkeypatch.setattr(module, "measure_pace", measured)
    monkeypatch.setattr(module, "why_no_weights", lambda model: None)
    return speeds


def fitted(choice: Choice, tmp_path: Path, minutes: float = 5, words: tuple[str, ...] = ()) -> tuple[Choice, Recipe]:
    found = fit_to_time(choice, tmp_path, tmp_path, words, minutes)
    return found, load_recipe(found.recipe, [*found.overrides, *words])


PHOTOS = Choice("resnet18-folder", ("batch.size=32",), ("few images",))
SCENES = Choice("hrnet_w18_seg-folder", ("model.weights=null", "augment.random_scale_crop.size=[224, 224]"), ("masks",))


def test_the_epochs_that_fit_are_set_and_said_with_what_twice_the_time_would_buy(
    speed: dict[str, float], tmp_path: Path
) -> None:
    found, recipe = fitted(PHOTOS, tmp_path)
    assert (recipe.schedule.epochs, recipe.augment.size, recipe.batch.size) == (24, (224, 224), 32)
    assert found.reasons[0] == "few images"
    assert found.reasons[1].startswith("5 minutes: 24 epochs, to end after 4.8 minutes; an epoch is 100 steps of 0.1 s")
    assert found.reasons[2] == "twice the time would buy 49 epochs"
    assert not [word for word in found.overrides if word.startswith("eval_every")]


def test_validations_that_take_long_are_made_rare(speed: dict[str, float], tmp_path: Path) -> None:
    speed["validation"] = 10.0
    assert fitted(PHOTOS, tmp_path, 17)[1].eval_every == 4


def test_the_stages_after_the_training_have_their_share_of_the_time(speed: dict[str, float], tmp_path: Path) -> None:
    found = fit_to_time(PHOTOS, tmp_path, tmp_path, (), 5, all_stages=True)
    assert "schedule.epochs=15" in found.overrides


@pytest.mark.parametrize(("step", "side"), [(0.8, 160), (1.5, 128), (2.2, 96)])
def test_images_are_smaller_where_few_epochs_fit(
    speed: dict[str, float], tmp_path: Path, step: float, side: int
) -> None:
    speed["resnet18-folder"] = step
    found, recipe = fitted(PHOTOS, tmp_path)
    assert (recipe.augment.size, recipe.input_size) == ((side, side), (side, side))
    assert recipe.schedule.epochs >= ENOUGH
    assert f"epochs at {side} x {side} pixels" in found.reasons[1]


def test_scenes_get_a_faster_model_before_smaller_crops(speed: dict[str, float], tmp_path: Path) -> None:
    found, recipe = fitted(SCENES, tmp_path)
    assert (found.recipe, recipe.model.weights, recipe.augment.size) == ("resnet18_fcn-folder", None, (224, 224))


def test_a_recipe_that_was_named_is_kept(speed: dict[str, float], tmp_path: Path) -> None:
    assert fitted(replace(SCENES, reasons=()), tmp_path)[0].recipe == SCENES.recipe


def test_a_faster_model_without_weights_is_passed_over(
    speed: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed["finetune-convnext_tiny"] = speed["finetune-resnet50"] = speed["finetune-mobilenet"] = 1.5
    error = ConvsmithError("not here")
    monkeypatch.setattr(module, "why_no_weights", lambda model: error if "50" in model.name else None)
    found, recipe = fitted(Choice("finetune-convnext_tiny", (), ("few images",)), tmp_path)
    assert (found.recipe, recipe.augment.size) == ("finetune-mobilenet", (128, 128))


def test_who_says_how_large_images_are_gets_no_other_size(speed: dict[str, float], tmp_path: Path) -> None:
    speed["resnet18-folder"] = 10.0
    _, recipe = fitted(PHOTOS, tmp_path, words=("preprocess.resize=240",))
    assert recipe.augment.size == (224, 224)
    assert recipe.sampling.fraction < 1


@pytest.mark.parametrize("word", ["schedule.epochs=3", "schedule={epochs: 3}"])
def test_epochs_and_minutes_cannot_both_be_set(word: str, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="both say how long"):
        fit_to_time(PHOTOS, tmp_path, tmp_path, [word], 5)


def test_minutes_are_for_one_process(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", str(digits), "--minutes", "5", "--devices", "2", "--out", str(tmp_path / "run")])
    assert ended.value.code == 2
    assert "--minutes goes with one process" in capsys.readouterr().err


def test_a_run_keeps_its_plan_and_is_not_measured_again(
    tmp_path: Path, digits: Path, speed: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    began = choose_for_run(digits, out, (), "resnet18-folder", 5)
    monkeypatch.setattr(module, "measure_pace", None)
    assert choose_for_run(digits, out, (), "resnet18-folder", 5) == began  # killed before its first checkpoint
    (Run(out).checkpoints / "step-00000001").mkdir()
    assert choose_for_run(digits, out, (), "resnet18-folder", 5) == began
    with pytest.raises(ConvsmithError, match="not planned for 10 minutes") as refused:
        choose_for_run(digits, out, (), "resnet18-folder", 10)
    assert "--minutes 5" in refused.value.fix


def test_measuring_leaves_nothing_but_the_record_of_what_was_looked_at(digits: Path, tmp_path: Path) -> None:
    recipe, state = load_recipe("digits", [*SMALL, "schedule.epochs=1"]), torch.get_rng_state()
    pace = measure_pace(recipe, digits, tmp_path, 0.01)
    assert (pace.steps, pace.usual) == (6, 1)
    assert min(pace.step, pace.validation, pace.checkpoint, pace.fixed) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["data_check.npz"]
    assert measure_pace(recipe, digits, tmp_path, 0.01, all_stages=True).fixed > 20  # that its benchmark takes
    assert torch.equal(torch.get_rng_state(), state)
