"""A recipe takes the preprocessing of its weights unless it says otherwise; its bundle names their licence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm

import convsmith as cs
from convsmith.recipe.load import recipe_to_yaml
from convsmith.recipe.schema import Recipe
from convsmith.spec import Preprocess
from convsmith.training.settle import settled, weights_origin
from tests.training.conftest import digits  # noqa: F401

CLIP = "model.name=timm/vit_base_patch32_clip_224.openai"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)


def load(*words: str, recipe: str | Path = "finetune-small") -> Recipe:
    return cs.load_recipe(recipe, words)


def square(recipe: Recipe) -> Preprocess:
    assert isinstance(recipe.preprocess, Preprocess)
    return recipe.preprocess


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([CLIP], {"mean": CLIP_MEAN, "crop": 224, "resize": 248, "interpolation": "bicubic"}),
        (["model.name=torchvision/inception_v3"], {"crop": 299, "resize": 342}),
        (["model.name=resnet50"], {"crop": 224, "resize": 232}),
        (["model.name=timm/vit_base_patch16_384.augreg_in1k"], {"crop": 384, "mean": (0.5, 0.5, 0.5)}),
    ],
)
def test_preprocessing_is_that_of_the_weights(words: list[str], expected: dict[str, Any]) -> None:
    recipe = settled(load(*words))
    assert {key: getattr(recipe.preprocess, key) for key in expected} == expected
    assert recipe.augment.size == (expected["crop"], expected["crop"])


def test_a_line_says_what_was_taken(caplog: pytest.LogCaptureFixture) -> None:
    settled(load("model.name=resnet50"))
    (line,) = caplog.messages
    assert line == "as the weights resnet50.tv_v2 were trained: preprocess.resize=232"


def test_what_the_command_line_says_stays() -> None:
    recipe = settled(load(CLIP, "preprocess.crop=320", "preprocess.std=[0.5, 0.5, 0.5]"))
    assert (square(recipe).crop, square(recipe).resize) == (320, 354)
    assert recipe.augment.size == (224, 224)
    assert (recipe.preprocess.mean, recipe.preprocess.std) == (CLIP_MEAN, (0.5, 0.5, 0.5))


def test_what_a_file_says_beside_the_weights_stays(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: resnet18-folder\nmodel: {name: timm/vit_base_patch32_clip_224.openai, weights: pretrained}\n"
        "preprocess: {resize: 240}\n"
    )
    recipe = settled(load(recipe=path))
    assert (square(recipe).resize, recipe.preprocess.mean) == (240, CLIP_MEAN)


@pytest.mark.parametrize(
    "words", [["model.weights=null", CLIP], ["model.weights=mine.pth", CLIP]], ids=["random", "a file"]
)
def test_weights_of_which_nothing_is_known_change_nothing(words: list[str]) -> None:
    recipe = load(*words)
    assert settled(recipe).model_dump() == recipe.model_dump()


def test_masks_take_mean_and_std_alone() -> None:
    recipe = settled(
        load("model.name=timm/test_vit2_upernet", "model.weights=pretrained", recipe="resnet18_fcn-folder")
    )
    assert recipe.preprocess.mean == (0.5, 0.5, 0.5)
    assert recipe.augment.size == (512, 512)


@pytest.mark.parametrize("name", cs.list_recipes())
def test_no_packaged_recipe_is_changed(name: str) -> None:
    recipe = cs.load_recipe(name)
    after = settled(recipe)
    assert (after.preprocess, after.augment) == (recipe.preprocess, recipe.augment)


def test_a_run_that_began_otherwise_goes_on_so() -> None:
    begun = load("model.name=resnet50", "model.weights=resnet50.tv_v2", "preprocess.resize=256", "model.num_classes=3")
    assert square(settled(load("model.name=resnet50"), begun)).resize == 256
    assert square(settled(load("model.name=resnet50", "seed=1"), begun)).resize == 232


def test_a_settled_recipe_stays() -> None:
    once = settled(load(CLIP))
    assert settled(once) == once


@pytest.fixture
def restricted(monkeypatch: pytest.MonkeyPatch) -> None:
    """timm's smallest network, with weights under another licence, which are not downloaded."""
    create, registry = timm.create_model, timm.models._registry._model_pretrained_cfgs
    name = "test_resnet.r160_in1k"
    monkeypatch.setattr("timm.create_model", lambda name, pretrained=False, **options: create(name, **options))
    monkeypatch.setitem(registry, name, replace(registry[name], license="cc-by-nc-4.0"))
    monkeypatch.setitem(registry, "test_resnet", replace(registry[name], license="cc-by-nc-4.0"))


def test_what_is_trained_on_keeps_the_licence_and_takes_the_normalisation_of_the_run(tmp_path: Path) -> None:
    step = tmp_path / "run/checkpoints/step-00000002"
    step.mkdir(parents=True)
    (step / "state.json").touch()
    swag = ["model.name=torchvision/vit_b_16.IMAGENET1K_SWAG_E2E_V1", "preprocess.mean=[0.1, 0.2, 0.3]"]
    (tmp_path / "run/recipe.yaml").write_text(recipe_to_yaml(settled(load(*swag))))
    for place in (tmp_path / "run", step):
        recipe = load("model.name=torchvision/vit_b_16", f"model.weights={place}")
        origin = weights_origin(recipe)
        assert origin is not None
        assert (origin.name, origin.licence) == ("torchvision/vit_b_16.IMAGENET1K_SWAG_E2E_V1", "cc-by-nc-4.0")
        assert settled(recipe).preprocess.mean == (0.1, 0.2, 0.3)
        assert recipe.augment.size == (224, 224)


@pytest.mark.slow
@pytest.mark.usefixtures("restricted")
def test_the_bundle_has_the_preprocessing_and_names_the_licence_also_of_what_is_trained_on(
    digits: Path,  # noqa: F811
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = [
        *("schedule.epochs=1", "schedule.warmup_epochs=0", "optimizer.lr=1e-4", "batch.size=24", "compile=false"),
        *("model.num_classes=null", "model.name=timm/test_resnet", "data.workers=0"),
    ]
    recipe = cs.load_recipe("digits", [*one, "model.weights=pretrained"])
    manifest = cs.load(cs.train(recipe, digits, tmp_path / "first").bundle).manifest
    assert (manifest.preprocess.mean, manifest.only_size) == ((0.5, 0.5, 0.5), (160, 160))
    assert manifest.model["weights"] == {"name": "timm/test_resnet.r160_in1k", "licence": "cc-by-nc-4.0"}
    assert "whose licence is cc-by-nc-4.0" in caplog.text
    recipe = cs.load_recipe("digits", [*one, f"model.weights={tmp_path / 'first'}"])
    again = cs.load(cs.train(recipe, digits, tmp_path / "second").bundle).manifest
    assert (again.preprocess.mean, again.only_size) == ((0.5, 0.5, 0.5), (32, 32))
    assert again.model["weights"] == manifest.model["weights"]
