from __future__ import annotations

import math
import re
from importlib.resources import files
from itertools import pairwise

import pytest
import torch

from convsmith.models.registry import backbone_of, create_model, list_models, named_weights
from convsmith.models.weights.origin import origin_of
from convsmith.models.weights.published import PRETRAINED, list_weights
from convsmith.recipe.costs import cost_key, read_costs
from convsmith.recipe.layers import file_layers
from convsmith.recipe.load import load_recipe, resolve
from convsmith.recipe.model import Model
from convsmith.recipe.optimization import MultiStep, Sgd
from convsmith.recipe.packaged import list_recipes
from convsmith.spec import Preprocess

LIBRARY = files("convsmith.recipe") / "library"


def test_the_recipes_are_listed_in_order_and_without_bases() -> None:
    names = [file.name.removesuffix(".yaml") for file in LIBRARY.iterdir()]
    assert list_recipes() == sorted(name for name in names if not name.startswith("base-"))


def test_a_pattern_picks_recipes() -> None:
    assert list_recipes("resnet5*-in1k*") == ["resnet50-in1k", "resnet50-in1k-cosine", "resnet50-in1k-v2"]


def test_what_each_recipes_model_costs_is_known_and_no_more() -> None:
    """Written by `python -m convsmith.training.measure_costs`."""
    named = {cost_key(load_recipe(name), it): name for name in list_recipes() for it in ("fp32", "bf16")}
    assert read_costs().keys() <= named.keys()
    # of LIP, the recipe names a twentieth class, which only the data have
    assert {name for key, name in named.items() if key not in read_costs()} == {
        it for it in list_recipes() if "-lip" in it
    }


FIXRES = {224: [176], 384: [300]}


@pytest.mark.parametrize("name", list_recipes())
class TestEach:
    def test_says_what_it_is_for_and_where_it_comes_from(self, name: str) -> None:
        recipe = load_recipe(name)
        assert len(recipe.description) > 20
        assert len(recipe.source) > 20

    def test_has_a_head_with_command_source_and_accuracy(self, name: str) -> None:
        head = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8").partition("\n\n")[0]
        assert all(line.startswith("#") for line in head.splitlines())
        assert f"convsmith train {name} --data " in head
        assert "# Source: " in head
        assert "# Accuracy: " in head or "# Published, " in head

    def test_trains_on_images_of_the_size_that_it_is_evaluated_on_or_of_fixres(self, name: str) -> None:
        recipe = load_recipe(name)
        if not isinstance(recipe.preprocess, Preprocess):
            return  # segmentation takes images of any size
        crop = recipe.preprocess.crop
        sides = {crop, *FIXRES.get(crop, ())}
        assert recipe.augment.size in {(side, side) for side in sides}

    def test_names_a_model_and_weights_that_there_are(self, name: str) -> None:
        model = load_recipe(name).model
        library = model.name.partition("/")[0]
        assert model.name in list_models(f"{library}/*" if "/" in model.name else "*")
        weights = model.weights and named_weights(model.weights, model.name)
        if weights in (None, PRETRAINED) or weights.endswith(".pth"):  # another library's, or a file to bring along
            return
        patterns = [f"{known}.*" for known in (model.name, backbone_of(model.name)) if known]
        assert weights in [name for pattern in patterns for name in list_weights(pattern)]


def models_with_options() -> dict[tuple[str, ...], list[Model]]:
    """The models of the recipes, each once, by what they are of any size and the names of their options."""
    found: dict[tuple[str, ...], list[Model]] = {}
    for name in list_recipes():
        model = load_recipe(name).model
        of_any_size = re.sub(r"_w\d+|\d+|_(tiny|small|base|large|xlarge)", "", model.name)
        alike = found.setdefault((of_any_size, *sorted(model.options)), [])
        if model.options and (model.name, model.options) not in [(it.name, it.options) for it in alike]:
            alike.append(model)
    return found


@pytest.mark.parametrize(
    "which", [slice(1), pytest.param(slice(1, None), marks=pytest.mark.slow)], ids=["one size", "the others"]
)
def test_models_take_the_recipes_options(which: slice) -> None:
    for alike in models_with_options().values():
        for model in alike[which]:
            with torch.device("meta"):
                assert create_model(model.name, num_classes=model.num_classes or 2, **model.options)


LADDERS = {"resnet50-ladder-*": "resnet50-in1k", "cifar10-ladder-*": "cifar10-baseline"}
STEPS = [pair for pattern, start in LADDERS.items() for pair in pairwise([start, *list_recipes(pattern)])]


@pytest.mark.parametrize(("before", "after"), STEPS)
def test_each_step_of_a_ladder_changes_only_what_its_file_says(before: str, after: str) -> None:
    old, new = resolve(before).values, resolve(after).values
    own = file_layers(after)[-1].values
    assert file_layers(after)[-2].name == before
    assert {key for key in new if new[key] != old[key]} == own.keys() | {"description"}
    for section in own.keys() - {"description", "source"}:
        for key in old[section] or ():
            kept = key not in own[section] and "name" not in own[section]
            assert not kept or new[section][key] == old[section][key]


def test_the_last_step_of_torchvisions_ladder_is_its_new_recipe() -> None:
    last, new = (resolve(name).values for name in (STEPS[11][1], "resnet50-in1k-v2"))
    assert last | {"description": ""} == new | {"description": ""}


def test_a_fine_tuning_takes_weights_from_a_file() -> None:
    assert load_recipe("finetune-small", ["model.weights=resnet18.pth"]).model.weights == "resnet18.pth"


@pytest.mark.parametrize("name", list_recipes("finetune-*"))
def test_a_fine_tuning_prepares_images_as_its_weights_ask_and_names_their_licence(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.model.weights == PRETRAINED
    origin = origin_of(named_weights(PRETRAINED, recipe.model.name), recipe.model.name)
    assert origin is not None
    assert recipe.preprocess == origin.preprocessing
    assert not origin.is_restricted
    said = (LIBRARY / f"{name}.yaml").read_text(encoding="utf-8") + recipe.source
    assert str(origin.licence).lower() in said.lower()


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("finetune-mobilenet", "torchvision/mobilenet_v3_large.IMAGENET1K_V2"),
        ("finetune-resnet50", "resnet50.tv_v2"),
        ("finetune-convnext_tiny", "convnext_tiny.fb_in22k_ft_in1k"),
    ],
)
@pytest.mark.parametrize("many", ["", "-many"])
def test_a_fine_tuning_starts_from_the_weights_that_it_was_made_for(name: str, weights: str, many: str) -> None:
    model = load_recipe(f"{name}{many}").model
    origin = origin_of(named_weights(PRETRAINED, model.name), model.name)
    assert origin is not None
    assert origin.name == weights


@pytest.mark.parametrize("name", ["cifar_resnet20-cifar10", "cifar_resnet56-cifar10"])
def test_the_cifar_recipes_are_the_papers(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.optimizer == Sgd(name="sgd", lr=0.1, momentum=0.9, weight_decay=1e-4)
    schedule = MultiStep(name="multi_step", epochs=200, milestones=(100, 150))
    assert (recipe.batch.size, recipe.schedule) == (128, schedule)
    assert recipe.augment.random_crop is not None
    assert (recipe.augment.random_crop.padding, recipe.augment.hflip) == (4, 0.5)


@pytest.mark.parametrize("name", list_recipes("hrnet_*-in1k"))
def test_the_hrnet_recipes_are_those_of_its_experiments(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.optimizer == Sgd(name="sgd", lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = MultiStep(name="multi_step", epochs=100, milestones=(30, 60, 90), by="epoch")
    assert (recipe.batch.size, recipe.schedule) == (4 * 32, schedule)


def test_digits_are_not_mirrored() -> None:
    assert load_recipe("digits").augment.hflip == 0


def test_the_range_of_aspect_ratios_is_symmetric() -> None:
    crop = load_recipe("resnet50-in1k").augment.random_resized_crop
    assert crop is not None
    assert math.isclose(crop.ratio[0] * crop.ratio[1], 1)
