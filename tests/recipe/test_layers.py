from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.recipe.augmentation import RandAugment
from convsmith.recipe.layers import merge, override_layer
from convsmith.recipe.load import load_recipe, recipe_to_yaml
from convsmith.recipe.optimization import AdamW, Cosine, Exponential, Poly, Sgd, Step
from convsmith.recipe.sampling import Balanced
from convsmith.recipe.yaml_text import KEY, write_yaml
from tests.recipe.examples import WHOLE, error_of, example, write
from tests.recipe.test_yaml_text import VALUES


class TestExtends:
    def test_a_child_changes_single_keys_of_its_parent(self, tmp_path: Path) -> None:
        child = write(tmp_path, whole=WHOLE, child="extends: whole.yaml\nschedule: {warmup_epochs: 2}")
        recipe = load_recipe(child)
        assert recipe.schedule == Cosine(epochs=10, warmup_epochs=2)

    def test_a_chain_is_followed_to_its_end(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        write(tmp_path, whole=WHOLE)
        write(tmp_path / "deep", middle="extends: ../whole.yaml\nseed: 1\nbatch: {size: 64}")
        recipe = load_recipe(write(tmp_path, child="extends: deep/middle.yaml\nseed: 2"))
        assert (recipe.seed, recipe.batch.size, recipe.schedule.epochs) == (2, 64, 10)

    def test_a_packaged_recipe_can_be_extended(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, child="extends: resnet50-in1k\nseed: 7"))
        assert recipe == load_recipe("resnet50-in1k", ["seed=7"])

    def test_null_switches_a_section_off(self, tmp_path: Path) -> None:
        augment = "augment: {random_crop: null, random_resized_crop: {size: 32}}"
        assert (
            load_recipe(write(tmp_path, whole=WHOLE, child=f"extends: whole.yaml\n{augment}")).augment.random_crop
            is None
        )

    def test_a_section_with_nothing_in_it_is_switched_on(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, whole=WHOLE, child="extends: whole.yaml\nema: {}"))
        assert recipe.ema is not None

    def test_a_list_replaces_the_whole_list(self, tmp_path: Path) -> None:
        recipe = load_recipe(write(tmp_path, whole=WHOLE, child="extends: whole.yaml\npreprocess: {mean: [0, 0, 0]}"))
        assert recipe.preprocess.mean == (0, 0, 0)

    def test_another_optimizer_inherits_nothing_from_the_parents(self, tmp_path: Path) -> None:
        child = "extends: whole.yaml\noptimizer: {name: adamw, lr: 0.001}"
        whole = WHOLE.replace("lr: 0.1", "lr: 0.1\n  momentum: 0.8\n  weight_decay: 0.3")
        assert load_recipe(write(tmp_path, whole=whole, child=child)).optimizer == AdamW(name="adamw", lr=0.001)

    def test_the_same_optimizer_inherits(self, tmp_path: Path) -> None:
        child = "extends: whole.yaml\noptimizer: {name: sgd, momentum: 0.8}"
        assert load_recipe(write(tmp_path, whole=WHOLE, child=child)).optimizer == Sgd(name="sgd", lr=0.1, momentum=0.8)

    def test_another_schedule_inherits_what_all_schedules_have(self, tmp_path: Path) -> None:
        base = WHOLE.replace("epochs: 10", "epochs: 10\n  warmup_epochs: 2\n  min_lr: 0.01")
        child = "extends: base.yaml\nschedule: {name: step, every_epochs: 3}"
        schedule = load_recipe(write(tmp_path, base=base, child=child)).schedule
        assert schedule == Step(name="step", epochs=10, warmup_epochs=2, every_epochs=3)

    def test_a_key_of_one_name_and_two_meanings_is_not_inherited(self, tmp_path: Path) -> None:
        recipe = example(tmp_path, "schedule={name: step, gamma: 0.5}")
        written = write(tmp_path, written=recipe_to_yaml(recipe))
        assert load_recipe(written, ["schedule.name=exponential"]).schedule == Exponential(
            name="exponential", epochs=10
        )

    def test_a_child_of_a_named_schedule_need_not_name_it(self, tmp_path: Path) -> None:
        base = WHOLE.replace("epochs: 10", "epochs: 10\n  name: poly")
        child = "extends: base.yaml\nschedule: {min_lr: 0.01}"
        assert load_recipe(write(tmp_path, base=base, child=child)).schedule == Poly(
            name="poly", epochs=10, min_lr=0.01
        )

    def test_another_sampling_keeps_the_fraction(self, tmp_path: Path) -> None:
        base = WHOLE + "sampling: {fraction: 0.5}\n"
        recipe = load_recipe(write(tmp_path, base=base), ["sampling.name=balanced"])
        assert recipe.sampling == Balanced(name="balanced", fraction=0.5)

    def test_another_policy_keeps_its_place_but_no_strength(self, tmp_path: Path) -> None:
        old = "augment.policy={name: timm_rand_augment, magnitude: 10, before_crop: true}"
        written = write(tmp_path, written=recipe_to_yaml(example(tmp_path, old)))
        policy = load_recipe(written, ["augment.policy.name=rand_augment"]).augment.policy
        assert policy == RandAugment(name="rand_augment", before_crop=True)

    def test_a_base_without_the_optimizers_name_is_inherited(self, tmp_path: Path) -> None:
        base = WHOLE.replace("  name: sgd\n", "")
        child = "extends: base.yaml\noptimizer: {name: adamw}"
        assert load_recipe(write(tmp_path, base=base, child=child)).optimizer.lr == 0.1

    def test_a_cycle_is_an_error_that_prints_the_chain(self, tmp_path: Path) -> None:
        first = write(tmp_path, b="extends: c.yaml", c="extends: a.yaml", a="extends: b.yaml")
        a, b, c = (f"`{tmp_path / name}.yaml`" for name in "abc")
        assert f"a recipe cannot extend itself: {a} extends {b} extends {c} extends {a}" in error_of(first)

    def test_a_file_that_extends_itself_by_a_symlink_is_a_cycle(self, tmp_path: Path) -> None:
        path = write(tmp_path, a="extends: link.yaml")
        (tmp_path / "link.yaml").symlink_to(path)
        assert "a recipe cannot extend itself" in error_of(path)

    def test_a_missing_parent_file_is_an_error_with_a_suggestion(self, tmp_path: Path) -> None:
        child = write(tmp_path, whole=WHOLE, child="\nextends: whol.yaml")
        parent = tmp_path / "whol.yaml"
        assert error_of(child) == f"{child}:2: extends there is no file {parent}; did you mean `whole.yaml`?"

    def test_a_missing_packaged_parent_is_an_error_with_a_suggestion(self, tmp_path: Path) -> None:
        child = write(tmp_path, child="extends: resnet50-in2k")
        assert "`resnet50-in2k` is not a packaged recipe; did you mean `resnet50-in1k`?" in error_of(child)

    @pytest.mark.parametrize("parent", ["null", "3", "[a.yaml, b.yaml]", "''"])
    def test_a_parent_is_one_name(self, tmp_path: Path, parent: str) -> None:
        assert "`extends` names one packaged recipe or one YAML file" in error_of(
            write(tmp_path, a=f"extends: {parent}")
        )


class TestFiles:
    @pytest.mark.parametrize("text", ["", "- a", "just text", "# only a remark"])
    def test_a_file_that_is_no_mapping_is_an_error(self, tmp_path: Path, text: str) -> None:
        assert "is not a recipe: a recipe is a mapping" in error_of(write(tmp_path, a=text))

    def test_a_folder_is_no_recipe(self, tmp_path: Path) -> None:
        (tmp_path / "recipe.yaml").mkdir()
        for folder in (tmp_path, tmp_path / "recipe.yaml"):
            assert error_of(folder) == f"{folder} is not a recipe's file: it is a folder"

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.yaml")
        assert "it is a pipe" in error_of(tmp_path / "pipe.yaml")

    def test_a_name_that_no_file_can_have_is_an_error(self) -> None:
        assert "cannot be read" in error_of("a" * 300 + ".yaml")

    def test_an_error_does_not_repeat_a_name_that_is_a_book(self, tmp_path: Path) -> None:
        said = error_of(write(tmp_path, a=f"extends: {'a/' * 100_000}"))
        assert "is not a file's name: it has 200,000 characters" in said
        assert len(said) < 1000

    def test_an_unknown_name_is_an_error_with_a_suggestion(self) -> None:
        assert "`digit` is not a packaged recipe; did you mean `digits`?" in error_of("digit")

    def test_a_file_may_have_a_name_in_any_script(self, tmp_path: Path) -> None:
        assert load_recipe(write(tmp_path, 食譜=WHOLE)).batch.size == 128


class TestOverrides:
    def test_a_value_is_yaml(self, tmp_path: Path) -> None:
        recipe = example(tmp_path, "optimizer.lr=1e-2", "preprocess.std=[1, 1, 1]", "ema={decay: 0.9}")
        assert (recipe.optimizer.lr, recipe.preprocess.std, recipe.ema and recipe.ema.decay) == (0.01, (1, 1, 1), 0.9)

    def test_of_two_values_the_later_one_counts(self, tmp_path: Path) -> None:
        assert example(tmp_path, "seed=1", "seed=2").seed == 2

    def test_another_optimizer_inherits_nothing_from_the_file(self, tmp_path: Path) -> None:
        assert example(tmp_path, "optimizer.name=adamw").optimizer == AdamW(name="adamw")

    def test_keys_before_and_after_the_name_of_another_optimizer_count(self, tmp_path: Path) -> None:
        optimizer = example(tmp_path, "optimizer.lr=0.5", "optimizer.name=adamw", "optimizer.eps=1e-6").optimizer
        assert optimizer == AdamW(name="adamw", lr=0.5, eps=1e-6)

    def test_a_value_may_hold_an_equals_sign(self, tmp_path: Path) -> None:
        assert example(tmp_path, "model.weights=a=b.pth").model.weights == "a=b.pth"

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("seed", "command line: `seed` is not key=value"),
            ("=3", "command line: `=3` is not key=value"),
            ("optimizer.=3", "command line: `optimizer.=3` is not key=value"),
            (".".join("a" * 100) + "=1", "is not key=value"),
            ("optimizer.lr=", "command line: `optimizer.lr=` has no value"),
            ("optimizer.lr= ", "has no value"),
            ("schedule.epochs=[", "command line: schedule.epochs:1:2: while parsing"),
            ("optimizer.lr=.nan", "command line: optimizer.lr:1:1: .nan is not a finite number"),
            ("model.weights=a #1.pth", "loses what follows #"),
            ("model.weights=#1.pth", "loses what follows #"),
            ("extends=digits", "`extends` belongs in a file"),
            ("seed=\ud800", "YAML has no character U+D800"),
        ],
    )
    def test_a_word_that_is_no_override_is_an_error(self, tmp_path: Path, word: str, message: str) -> None:
        assert message in error_of(write(tmp_path, whole=WHOLE), [word])

    @given(st.lists(st.from_regex(KEY, fullmatch=True), min_size=1, max_size=5), VALUES)
    def test_any_value_at_any_path_arrives(self, keys: list[str], value: Any) -> None:
        if keys == ["extends"]:
            keys = ["model", "extends"]
        layer: Any = override_layer([f"{'.'.join(keys)}={write_yaml(value)}"]).values
        for key in keys:
            layer = layer[key]
        assert repr(layer) == repr(value)


MAPPINGS = st.dictionaries(
    st.sampled_from("abc"), st.recursive(st.integers(), lambda below: st.dictionaries(st.sampled_from("abc"), below))
)


class TestMerge:
    @given(MAPPINGS)
    def test_merging_nothing_changes_nothing(self, mapping: Any) -> None:
        assert merge(mapping, {}) == merge({}, mapping) == merge(mapping, mapping) == mapping

    @given(MAPPINGS, MAPPINGS)
    def test_all_that_the_child_says_counts(self, parent: Any, child: Any) -> None:
        assert merge(merge(parent, child), child) == merge(parent, child)

    @given(MAPPINGS, MAPPINGS)
    def test_the_parent_is_left_as_it_was(self, parent: Any, child: Any) -> None:
        before = repr(parent)
        merge(parent, child)
        assert repr(parent) == before
