from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import MAX_STEPS, make_plan
from convsmith.recipe.plan import Group
from convsmith.recipe.schedules import learning_rates
from convsmith.recipe.schema import BatchRule, Recipe

DIGITS = load_recipe("digits")
KEYS = """
    world_size per_device_batch accumulation effective_batch num_samples steps_per_epoch total_steps lr weight_decay
    groups augment sampler mixing loss distillation freeze ema params gmacs memory_bytes extra
"""


def with_batch(size: int, per_device: int | str = "auto", last_batch: str = "wrap") -> Recipe:
    batch = BatchRule.model_validate({"size": size, "per_device": per_device})
    return DIGITS.model_copy(update={"batch": batch, "data": Data.model_validate({"last_batch": last_batch})})


def error_of(make: Callable[[], object]) -> str:
    with pytest.raises(ConvsmithError) as caught:
        make()
    return str(caught.value)


class TestDivision:
    @pytest.mark.parametrize(
        ("size", "devices", "limit", "words"),
        [
            (127, 1, 100, "batch.size=127 is divided into forward passes of 1, though 100 fit into memory; "
             "batch.size=126 and batch.size=128 divide better"),
            (254, 2, 100, "batch.size=252 and batch.size=256 divide better"),
            (7, 1, 6, "batch.size=6 and batch.size=8 divide better"),
            (254, 1, 254, ""),
            (256, 1, 100, ""),
            (100, 1, 99, ""),
            (127, 127, 100, ""),
        ],
    )  # fmt: skip
    def test_a_batch_that_divides_badly_is_warned_of_with_the_nearest_that_do_not(
        self, size: int, devices: int, limit: int, words: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        make_plan(with_batch(size), 400, devices=devices, max_per_device=limit)
        assert words in caplog.text
        assert len(caplog.records) == bool(words)

    @pytest.mark.parametrize(
        ("recipe", "nodes", "devices", "limit", "per_device", "accumulation"),
        [
            (with_batch(256), 1, 1, None, 256, 1),
            (with_batch(256), 4, 8, None, 8, 1),
            (with_batch(256), 1, 1, 100, 64, 4),
            (with_batch(256), 1, 8, 100, 32, 1),
            (with_batch(96), 1, 2, 20, 16, 3),
            (with_batch(7), 1, 1, 6, 1, 7),
            (with_batch(256, per_device=16), 1, 4, None, 16, 4),
            (with_batch(256, per_device=64), 1, 4, 32, 64, 1),
        ],
    )
    def test_the_largest_batch_that_fits_and_divides_is_taken(
        self, recipe: Recipe, nodes: int, devices: int, limit: int | None, per_device: int, accumulation: int
    ) -> None:
        plan = make_plan(recipe, 1000, nodes, devices, limit)
        assert (plan.per_device_batch, plan.accumulation) == (per_device, accumulation)

    @pytest.mark.parametrize(
        ("recipe", "devices", "message"),
        [
            (
                with_batch(100),
                8,
                "batch.size=100 cannot be divided over 1 x 8 devices: it must be a multiple of 8\n"
                "The nearest possible: batch.size=96 or batch.size=104.",
            ),
            (
                with_batch(3),
                8,
                "batch.size=3 cannot be divided over 1 x 8 devices: it must be a multiple of 8\n"
                "The nearest possible: batch.size=8.",
            ),
            (
                with_batch(240, per_device=48),
                2,
                "batch.size=240 cannot be divided over 1 x 2 devices with batch.per_device=48: "
                "it must be a multiple of 96\n"
                "The nearest possible: batch.size=192 or batch.size=288; or set batch.per_device=auto.",
            ),
        ],
    )
    def test_a_batch_that_cannot_be_divided_is_an_error_with_the_nearest(
        self, recipe: Recipe, devices: int, message: str
    ) -> None:
        assert error_of(lambda: make_plan(recipe, 1000, 1, devices)) == message

    @given(st.integers(1, 400), st.integers(1, 4), st.integers(1, 8), st.integers(1, 300))
    def test_the_right_side_is_always_the_effective_batch(
        self, share: int, nodes: int, devices: int, limit: int
    ) -> None:
        plan = make_plan(with_batch(share * nodes * devices), 100, nodes, devices, limit)
        assert plan.per_device_batch <= limit
        assert plan.world_size * plan.per_device_batch * plan.accumulation == plan.effective_batch
        assert not [more for more in range(plan.per_device_batch + 1, min(limit, share) + 1) if share % more == 0]

    @given(size=st.integers(1, 3000), devices=st.integers(2, 64))
    def test_the_nearest_batches_that_an_error_lists_can_be_divided(self, size: int, devices: int) -> None:
        assume(size % devices)
        fix = error_of(lambda: make_plan(with_batch(size), 100, 1, devices)).splitlines()[1]
        nearest = [int(word.strip(".").partition("=")[2]) for word in fix.split() if "=" in word]
        assert nearest == [near for near in (size // devices * devices, -(-size // devices) * devices) if near]
        for near in nearest:
            make_plan(with_batch(near), 100, 1, devices)

    @given(nodes=st.integers(1, 4), devices=st.sampled_from([1, 2, 4, 8]))
    def test_hardware_does_not_change_what_is_trained(self, nodes: int, devices: int) -> None:
        recipe = with_batch(96 * 8)
        alone, many = make_plan(recipe, 5000), make_plan(recipe, 5000, nodes, devices)
        hardware = {"world_size", "per_device_batch", "accumulation"}
        same = [{key: value for key, value in plan.to_dict().items() if key not in hardware} for plan in (alone, many)]
        assert same[0] == same[1]


class TestSteps:
    @pytest.mark.parametrize(
        ("num_samples", "last_batch", "steps"),
        [(1, "wrap", 1), (64, "wrap", 1), (65, "wrap", 2), (64, "drop", 1), (127, "drop", 1), (128, "drop", 2)],
    )
    def test_the_ragged_end_wraps_or_is_dropped(self, num_samples: int, last_batch: str, steps: int) -> None:
        assert make_plan(with_batch(64, last_batch=last_batch), num_samples).steps_per_epoch == steps

    @pytest.mark.parametrize(("fraction", "steps"), [(1.0, 10), (0.5, 5), (0.25, 3), (1e-9, 1)])
    def test_an_epoch_is_as_long_as_the_share_of_images_that_is_used(self, fraction: float, steps: int) -> None:
        recipe = load_recipe("digits", [f"sampling.fraction={fraction!r}"])
        assert make_plan(recipe, 640).steps_per_epoch == steps

    def test_an_extra_phase_has_steps_of_its_own(self) -> None:
        plan = make_plan(load_recipe("digits", ["schedule.extra={epochs: 3, lr: 0.01}"]), 640)
        assert (plan.total_epochs, plan.total_steps, len(plan.lr)) == (15, 150, 150)
        assert plan.lr[120] == 0.01

    @pytest.mark.parametrize(("scaling", "factor"), [("none", 1), ("linear", 4), ("sqrt", 2)])
    def test_the_learning_rate_is_scaled_to_the_batch(self, scaling: str, factor: int) -> None:
        words = ["batch.size=1024", f"optimizer.lr_scaling={scaling}", "schedule.warmup_epochs=0"]
        assert make_plan(load_recipe("digits", words), 5000).lr[0] == 0.05 * factor

    def test_a_crop_above_the_resized_image_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        make_plan(load_recipe("digits", ["preprocess.resize=28", "preprocess.crop=32"]), 640)
        assert "preprocess.crop=32 is more than preprocess.resize=28: validation and predict see black" in caplog.text

    def test_milestones_after_the_end_are_said(self, caplog: pytest.LogCaptureFixture) -> None:
        words = ["schedule={name: multi_step, milestones: [6, 12, 13.5], warmup_epochs: 0}"]
        make_plan(load_recipe("digits", words), 640)
        assert "schedule.milestones: 12, 13.5 come after the last of 12 epochs, and change nothing" in caplog.text

    def test_milestones_of_a_longer_extra_phase_are_not(self, caplog: pytest.LogCaptureFixture) -> None:
        words = ["schedule={name: multi_step, milestones: [6, 12], extra: {epochs: 13, lr: 0.1}}"]
        make_plan(load_recipe("digits", words), 640)
        assert not caplog.records

    def test_weight_decay_follows_a_cosine_where_it_has_an_end(self) -> None:
        decays = make_plan(load_recipe("digits", ["optimizer.weight_decay_end=0.1"]), 640).weight_decay
        assert decays is not None
        assert (len(decays), decays[0]) == (120, 5e-4)
        assert decays[60] == pytest.approx((5e-4 + 0.1) / 2)

    def test_an_epoch_without_a_full_batch_is_an_error_that_says_what_to_set(self) -> None:
        message = error_of(lambda: make_plan(with_batch(64, last_batch="drop"), 63))
        assert message.startswith("63 training samples do not fill one batch of 64")
        assert message.endswith("Set data.last_batch=wrap, or batch.size=63 or less.")

    def test_there_is_a_learning_rate_for_each_step(self) -> None:
        plan = make_plan(DIGITS, 1437)
        assert plan.total_steps == DIGITS.schedule.epochs * plan.steps_per_epoch == len(plan.lr)
        assert plan.lr == tuple(learning_rates(DIGITS.schedule, DIGITS.optimizer.lr, plan.steps_per_epoch))

    def test_more_steps_than_a_plan_can_list_are_an_error(self) -> None:
        message = error_of(lambda: make_plan(with_batch(1), MAX_STEPS))
        assert f"at most {MAX_STEPS:,}" in message

    @pytest.mark.parametrize("counts", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 1, 1)])
    def test_samples_nodes_and_devices_are_at_least_one(self, counts: tuple[int, int, int]) -> None:
        assert "must be at least 1, not" in error_of(lambda: make_plan(DIGITS, *counts))

    def test_room_for_no_sample_is_an_error(self) -> None:
        assert "max_per_device must be at least 1, not 0" in error_of(lambda: make_plan(DIGITS, 10, max_per_device=0))


class TestToDict:
    def test_it_is_what_json_gives_back(self) -> None:
        groups = (Group(lr_scale=1.0, weight_decay=0.1, names=("a", "b")),)
        plan = replace(make_plan(DIGITS, 1437), groups=groups, weight_decay=(0.1, 0.2), params=3)
        assert json.loads(json.dumps(plan.to_dict())) == plan.to_dict()

    def test_it_has_the_published_keys_in_order(self) -> None:
        assert list(make_plan(DIGITS, 1437).to_dict()) == KEYS.split()

    def test_it_says_how_samples_are_drawn_and_changed(self) -> None:
        plan = make_plan(load_recipe("resnet18-folder", ["seed=3", "data.last_batch=drop"]), 1000).to_dict()
        assert plan["sampler"] == {
            "last_batch": "drop",
            "window": 8192,
            "seed": 3,
            "name": "plain",
            "fraction": 1.0,
        }
        assert plan["augment"]["random_resized_crop"]["scale"] == [0.25, 1.0]
        assert (plan["loss"]["name"], plan["loss"]["label_smoothing"]) == ("cross_entropy", 0.1)
        assert (plan["ema"]["decay"], plan["ema"]["warmup"]) == (0.999, "count")

    def test_what_needs_the_model_is_null(self) -> None:
        plan = make_plan(DIGITS, 1437).to_dict()
        assert {plan[key] for key in ("groups", "params", "gmacs", "memory_bytes", "weight_decay", "ema")} == {None}


def test_mixing_of_single_images_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    recipe = load_recipe("digits", ["mixing.mixup_alpha=0.2", "batch.size=8"])
    make_plan(recipe, 100, max_per_device=1)
    assert "mixing changes nothing" in caplog.text
    caplog.clear()
    make_plan(recipe, 100, max_per_device=2)
    assert caplog.text == ""


def test_a_batch_larger_than_the_data_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    make_plan(load_recipe("digits", ["batch.size=64"]), 63)
    assert "batch.size=64 is more than the 63 samples of an epoch" in caplog.text
    caplog.clear()
    make_plan(load_recipe("digits", ["batch.size=64"]), 64)
    assert caplog.text == ""
