from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import as_recipe, load_recipe, name_of, recipe_to_yaml, resolve
from convsmith.recipe.packaged import list_recipes
from convsmith.recipe.yaml_text import read_yaml, write_yaml
from tests.recipe.examples import WHOLE, example, write
from tests.recipe.test_yaml_text import VALUES


def leaves(values: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(values, dict) or not values:
        return {prefix.removesuffix("."): values}
    return {path: leaf for key, value in values.items() for path, leaf in leaves(value, f"{prefix}{key}.").items()}


class TestOrigins:
    @pytest.fixture
    def origins(self, tmp_path: Path) -> dict[str, str]:
        write(tmp_path, whole=WHOLE)
        child = write(tmp_path, child="extends: whole.yaml\nbatch:\n  size: 64\naugment:\n  hflip: 0.5")
        origins = resolve(child, ["augment.hflip=0", "ema={decay: 0.9}"]).origins
        return {path: origin.replace(f"{tmp_path}/", "") for path, origin in origins.items()}

    def test_a_value_of_the_parent_has_its_line_there(self, origins: dict[str, str]) -> None:
        assert origins["optimizer.lr"] == "whole.yaml:12"

    def test_a_value_that_the_child_changed_has_its_line_in_the_child(self, origins: dict[str, str]) -> None:
        assert origins["batch.size"] == "child.yaml:3"

    def test_an_override_comes_from_the_command_line(self, origins: dict[str, str]) -> None:
        assert origins["augment.hflip"] == origins["ema.decay"] == "command line"

    def test_what_nobody_said_is_a_default(self, origins: dict[str, str]) -> None:
        assert origins["seed"] == origins["ema.warmup"] == "default"

    def test_a_packaged_recipe_is_called_by_its_name(self) -> None:
        assert resolve("resnet18-in1k").origins["model.name"].startswith("resnet18-in1k:")

    def test_what_another_optimizer_does_not_inherit_is_a_default(self, tmp_path: Path) -> None:
        whole = write(tmp_path, whole=WHOLE.replace("lr: 0.1", "lr: 0.1\n  weight_decay: 0.3"))
        assert resolve(whole, ["optimizer.name=adamw"]).origins["optimizer.weight_decay"] == "default"

    def test_what_a_null_between_threw_out_is_a_default(self, tmp_path: Path) -> None:
        write(tmp_path, whole=WHOLE + "ema: {decay: 0.5}\n", off="extends: whole.yaml\nema: null")
        resolved = resolve(write(tmp_path, again="extends: off.yaml\nema: {warmup: none}"))
        assert (resolved.origins["ema.decay"], resolved.values["ema"]["decay"]) == ("default", 0.999)


@pytest.mark.parametrize("name", list_recipes())
def test_values_and_origins_have_the_same_keys(name: str) -> None:
    resolved = resolve(name)
    assert leaves(resolved.values).keys() == resolved.origins.keys()


@pytest.mark.parametrize("name", list_recipes())
def test_values_are_the_recipes(name: str) -> None:
    resolved = resolve(name)
    assert resolved.values == resolved.recipe.model_dump(mode="json")


class TestToYaml:
    @pytest.mark.parametrize("name", list_recipes())
    def test_a_written_recipe_loads_to_the_same_recipe(self, tmp_path: Path, name: str) -> None:
        recipe = load_recipe(name)
        assert load_recipe(write(tmp_path, written=recipe_to_yaml(recipe))) == recipe

    @settings(max_examples=30)  # test_yaml_text tries more values by themselves
    @given(value=VALUES)
    def test_so_does_one_with_any_options(self, tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
        folder = tmp_path_factory.getbasetemp()
        recipe = example(folder, f"model.options.a={write_yaml(value)}", f"model.options.b.c={write_yaml(value)}")
        written = write(folder, written=recipe_to_yaml(recipe, {"model.options.b.c": "remark"}))
        assert repr(load_recipe(written)) == repr(recipe)

    def test_an_origin_is_a_remark_behind_its_value(self, tmp_path: Path) -> None:
        text = recipe_to_yaml(example(tmp_path), {"optimizer.lr": "mine.yaml:3"})
        assert [line.split() for line in text.splitlines() if "#" in line] == [["lr:", "0.1", "#", "mine.yaml:3"]]

    def test_a_remark_with_a_line_break_cannot_add_a_line(self, tmp_path: Path) -> None:
        recipe = example(tmp_path)
        assert read_yaml(recipe_to_yaml(recipe, {"seed": "a\nb: 1"}), "x") == read_yaml(recipe_to_yaml(recipe), "x")


def test_a_training_image_may_be_larger_than_the_evaluation_image(tmp_path: Path) -> None:
    assert example(tmp_path, "augment.random_crop.size=64").augment.size == (64, 64)


def test_null_takes_an_option_of_the_model_out_again(tmp_path: Path) -> None:
    whole = write(tmp_path, whole=WHOLE.replace("  name: cifar_resnet20", "  name: x\n  options: {a: 1, b: 2}"))
    assert load_recipe(whole, ["model.options.a=null"]).model.options == {"b": 2}


def test_a_run_made_too_short_for_its_warmup_keeps_the_warmups_share(caplog: pytest.LogCaptureFixture) -> None:
    usual, short = load_recipe("convnext_base-in1k").schedule, load_recipe("convnext_base-in1k", ["schedule.epochs=1"])
    assert (usual.epochs, usual.warmup_epochs) == (300, 20)  # type: ignore[union-attr]
    assert short.schedule.warmup_epochs == pytest.approx(1 / 15, rel=1e-2)  # type: ignore[union-attr]
    assert "schedule.warmup_epochs is 0.0667 instead of 20" in caplog.text


@pytest.mark.parametrize(("epochs", "frozen"), [(1, None), (5, 2), (6, 5)])
def test_frozen_epochs_keep_their_share_of_a_run_that_is_too_short_for_them(
    epochs: int, frozen: int | None, tmp_path: Path
) -> None:
    text = f"{WHOLE}freeze: {{names: backbone, epochs: 5}}\n"
    freeze = load_recipe(write(tmp_path, whole=text), [f"schedule.epochs={epochs}"]).freeze
    assert (freeze and freeze.epochs) == frozen


def test_frozen_epochs_and_epochs_that_are_given_together_have_to_agree() -> None:
    with pytest.raises(ConvsmithError, match=r"leaves none of the 2 epochs"):
        load_recipe("resnet18-folder", ["schedule={epochs: 2, warmup_epochs: 0}", "freeze={names: head, epochs: 2}"])


def test_every_packaged_recipe_can_be_tried_for_one_epoch() -> None:
    for name in list_recipes():
        assert load_recipe(name, ["schedule.epochs=1"]).schedule.epochs == 1


def test_a_warmup_and_epochs_that_are_given_together_have_to_agree() -> None:
    with pytest.raises(ConvsmithError, match="the warmup would never end"):
        load_recipe("convnext_base-in1k", ["schedule.epochs=1", "schedule.warmup_epochs=5"])


def test_a_recipe_is_called_like_its_file_or_else_like_its_model(tmp_path: Path) -> None:
    assert name_of("digits") == "digits"
    assert name_of(tmp_path / "my.own.yaml") == "my.own"
    assert name_of(load_recipe("digits", ["model.name=timm/resnet18"])) == "timm-resnet18"


def test_a_checked_recipe_can_be_changed_further(tmp_path: Path) -> None:
    whole = load_recipe(write(tmp_path, whole=WHOLE))
    assert as_recipe(whole) is whole
    assert as_recipe(whole, ["seed=3"]) == as_recipe(tmp_path / "whole.yaml", ["seed=3"]) != whole


def test_what_is_left_to_the_weights_is_no_longer_where_a_change_says_it() -> None:
    recipe = load_recipe("linear-probe", ["model.weights=pretrained"])
    sides = {"preprocess.resize", "preprocess.crop"}
    assert sides <= recipe.left_to_weights
    assert not load_recipe("linear-probe").left_to_weights
    changed = as_recipe(recipe, ["preprocess.crop=96"])
    assert recipe.left_to_weights - changed.left_to_weights == {"preprocess.crop"}
    said = load_recipe("linear-probe", ["model.weights=pretrained", "preprocess.crop=96"])
    assert said.left_to_weights == changed.left_to_weights


def test_what_a_file_says_before_a_change_of_the_weights_is_left_to_them(tmp_path: Path) -> None:
    file = write(tmp_path, parent=WHOLE, child="extends: parent.yaml\nmodel: {weights: pretrained}")
    assert "preprocess.crop" in load_recipe(file).left_to_weights
    both = write(tmp_path, own="extends: parent.yaml\nmodel: {weights: pretrained}\npreprocess: {crop: 32}")
    assert "preprocess.crop" not in load_recipe(both).left_to_weights
