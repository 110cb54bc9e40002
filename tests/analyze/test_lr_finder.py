"""The range test on curves whose answer is known, and once on real digits."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.lr_finder import RangeTest, find_lr, range_test
from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from tests.training.conftest import SMALL

pytestmark = pytest.mark.usefixtures("tiny")

TINY = (*SMALL, "model.name=tiny")
RATES = np.geomspace(1e-5, 1, 101).tolist()


def valley(step: int) -> float:
    """Falls by the logarithm of the rate until 0.1, step 80, and rises faster then."""
    return 9 - step / 10 if step <= 80 else 1 + (step - 80) ** 2


def test_the_suggestion_is_a_tenth_of_the_rate_with_the_lowest_loss() -> None:
    test = range_test(RATES, valley)
    assert test.lowest == pytest.approx(0.1, rel=0.5)  # the average trails some steps
    assert test.suggestion == test.lowest / 10


def test_the_steepest_rate_is_where_the_loss_falls_before_its_lowest() -> None:
    def step_down(step: int) -> float:
        return 3.0 if step < 50 else 2.0 if step < 80 else 7.0 if step < 85 else 2.5

    test = range_test(RATES, step_down)
    assert RATES[49] <= (test.steepest or 0) <= RATES[52]


def test_the_smoothed_loss_of_equal_losses_is_that_loss_from_the_start() -> None:
    assert range_test(RATES, lambda step: 2.5).smoothed == pytest.approx([2.5] * 101)


def test_it_ends_once_the_smoothed_loss_is_above_four_times_its_lowest() -> None:
    test = range_test(RATES, valley)
    assert test.diverged
    assert test.smoothed[-1] > 4 * min(test.smoothed)
    assert max(value / min(test.smoothed[: i + 1]) for i, value in enumerate(test.smoothed[:-1])) <= 4


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_it_ends_at_a_loss_that_is_not_finite_and_leaves_it_out(bad: float) -> None:
    test = range_test(RATES, lambda step: bad if step == 60 else 9 - step / 10)
    assert test.diverged
    assert len(test.lr) == len(test.loss) == len(test.smoothed) == 60


def test_nothing_is_suggested_where_the_loss_only_rises() -> None:
    test = range_test(RATES, lambda step: 1 + step / 100)
    assert (test.diverged, test.steepest, test.suggestion) == (False, None, None)


def test_a_test_that_diverges_at_once_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="diverged in step 5") as caught:
        range_test(RATES, lambda step: 1.0 if step < 5 else math.nan)
    assert "--from" in caught.value.fix


def test_a_fifth_of_the_steps_before_it_diverges_is_too_few_to_judge_by() -> None:
    with pytest.raises(ConvsmithError, match="diverged in step 20"):
        range_test(RATES, lambda step: 1 - step / 1000 if step < 20 else math.nan)
    assert range_test(RATES, lambda step: 1 - step / 1000 if step < 21 else math.nan).diverged


@pytest.mark.parametrize("numbers", [(0.0, 1.0, 50), (1.0, 0.1, 50), (1e-5, math.inf, 50), (1e-5, 1.0, 19)])
def test_rates_that_do_not_grow_and_too_few_steps_are_refused(
    numbers: tuple[float, float, int], tmp_path: Path
) -> None:
    start, end, steps = numbers
    with pytest.raises(ConvsmithError, match="no range test"):
        find_lr("digits", tmp_path, tmp_path / "out", start=start, end=end, steps=steps)


@pytest.fixture(scope="module")
def found(tiny: None, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RangeTest, Path]:
    out = tmp_path_factory.mktemp("out")
    # four times the recipe's batch of the scaling, and more steps than the training has
    scaled = ("optimizer.lr_scaling=linear", "optimizer.lr_batch=2", "optimizer.weight_decay_end=1e-3")
    return find_lr(load_recipe("digits", (*TINY, *scaled)), digits, out, start=1e-5, end=1, steps=20), out


def test_it_leaves_its_figures_and_a_plot_and_nothing_else(found: tuple[RangeTest, Path]) -> None:
    test, out = found
    assert {path.name for path in out.iterdir()} == {"lr_find.json", "lr_find.png"}
    assert json.loads((out / "lr_find.json").read_text()) == json.loads(json.dumps(test.to_dict()))
    with Image.open(out / "lr_find.png") as plot:
        assert min(plot.size) > 400


def test_rates_grow_by_a_constant_factor_from_the_first_to_the_last(found: tuple[RangeTest, Path]) -> None:
    assert found[0].lr == pytest.approx(np.geomspace(1e-5, 1, 20)[: len(found[0].lr)])


def test_its_steps_are_those_of_the_training(digits: Path, tmp_path: Path) -> None:
    """The first loss is that of the untrained model on the training's first batch, whatever the rates are."""
    recipe = load_recipe("digits", TINY)
    first = find_lr(recipe, digits, tmp_path / "a", start=1e-4, end=1e-2, steps=20)
    second = find_lr(recipe, digits, tmp_path / "b", start=1e-5, end=1e-3, steps=20)
    assert first.loss[0] == second.loss[0]
    assert first.loss[5:] != second.loss[5:]


def test_scaling_to_the_batch_is_that_of_the_recipe(digits: Path, tmp_path: Path) -> None:
    """Rates are values of optimizer.lr: where the recipe multiplies it by 4, a fourth of it does the same."""
    scaled = ("optimizer.lr_scaling=linear", "optimizer.lr_batch=2")
    plain = find_lr(load_recipe("digits", TINY), digits, tmp_path / "a", start=4e-5, end=4e-2, steps=20)
    fourth = find_lr(load_recipe("digits", (*TINY, *scaled)), digits, tmp_path / "b", start=1e-5, end=1e-2, steps=20)
    assert fourth.loss == pytest.approx(plain.loss, rel=1e-3)


def test_a_folder_that_holds_a_run_is_refused(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(ConvsmithError, match="holds a run"):
        find_lr(load_recipe("digits", TINY), digits, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
