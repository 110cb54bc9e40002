"""`head` names the layers that give logits, in every model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.models.base import VisionModel
from convsmith.recipe.optimization import AdamW, Sgd
from convsmith.recipe.packaged import list_recipes
from convsmith.recipe.schema import Recipe
from convsmith.training.prepare import prepare_training, stepper_at_start
from convsmith.training.settle import settled
from convsmith.training.update.groups import parameter_groups
from tests.data.folders import write_noise
from tests.training.conftest import SMALL
from tests.training.scenes import write_scenes
from tests.training.tiny_model import name_tiny

K = 37  # classes: no layer of these models has as many outputs for another reason

CLASSIFIERS = [
    "cifar_resnet20", "resnet18", "resnet50", "resnest50", "resnest50_fast_1s1x64d", "mobilenet_v2", "convnext_tiny",
    "convnext_isotropic_small", "hrnet_w18", "hrnet_w18_small_v1",
    "timm/resnet18", "timm/mobilenetv4_conv_small", "timm/mobilenetv3_small_050", "timm/efficientnet_b0",
    "timm/convnext_atto", "timm/vit_tiny_patch16_224", "timm/deit_tiny_distilled_patch16_224",
    "timm/swin_tiny_patch4_window7_224", "timm/volo_d1_224", "timm/caformer_s18", "timm/levit_128s",
    "timm/crossvit_tiny_240", "timm/efficientformer_l1", "timm/regnety_002", "timm/inception_next_atto",
    "timm/pit_ti_distilled_224", "torchvision/resnet18", "torchvision/squeezenet1_1", "torchvision/vit_b_16",
    "torchvision/swin_t", "torchvision/googlenet", "torchvision/inception_v3",
    "torchvision/densenet121", "torchvision/maxvit_t",
]  # fmt: skip
SEGMENTERS = [
    "hrnet_w18_seg", "hrnet_w18_ocr", "resnet18_fcn", "resnet18_upernet", "resnest50_upernet", "mobilenet_v2_upernet",
    "convnext_tiny_upernet", "hrnet_w18_fcn", "timm/resnet18_fcn", "timm/convnext_atto_upernet",
    "torchvision/fcn_resnet50 aux_loss", "torchvision/deeplabv3_mobilenet_v3_large",
    "torchvision/lraspp_mobilenet_v3_large",
]  # fmt: skip
QUICK = {
    "cifar_resnet20",
    "timm/mobilenetv3_small_050",
    "resnet18_fcn",
    "finetune-mobilenet",
    "finetune-cifar_resnet20",
}
SIDES = {"torchvision/inception_v3": 96, "timm/crossvit_tiny_240": 240} | {
    name: 224
    for name in CLASSIFIERS
    if any(kind in name for kind in ("vit_", "deit", "swin", "volo", "levit", "efficientformer", "pit_", "maxvit"))
}


def parametrised(names: list[str]) -> pytest.MarkDecorator:
    marks = {name: [] if name in QUICK else [pytest.mark.slow] for name in names}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name]) for name in names])


def build(name: str, num_classes: int) -> VisionModel:
    name, _, option = name.partition(" ")
    options: dict[str, Any] = {option: True} if option else {}
    return cs.create_model(name, num_classes, **options)


def gives_logits(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d) and module.weight.shape[0] == K


@pytest.mark.parametrize("name", [*CLASSIFIERS, *SEGMENTERS])
def test_the_head_is_exactly_the_layers_with_an_output_for_each_class(name: str) -> None:
    with torch.device("meta"):
        model = build(name, K)
    layers = {path: module for path, module in model.named_modules() if gives_logits(module)}
    head = {f"{path}.{parameter}" for path, layer in layers.items() for parameter, _ in layer.named_parameters()}
    groups = parameter_groups(model, Sgd(name="sgd", lr_scales=(("head", 10.0), ("backbone", 2.0))))
    scale = {parameter: group.lr_scale for group in groups for parameter in group.names}
    assert {parameter for parameter, factor in scale.items() if factor == 10} == head
    assert set(scale.values()) == {10.0, 2.0}
    by_depth = parameter_groups(model, AdamW(name="adamw", layer_decay=0.5))
    assert head <= {parameter for group in by_depth if group.lr_scale == 1 for parameter in group.names}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of noise in three classes: two to learn from and one to validate with of each."""
    return write_noise(tmp_path_factory.mktemp("photos"), 6, classes=3, size=(50, 40))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes"))


def assert_one_step_moves_the_head_ten_times_as_fast(recipe: Recipe, data: Path, folder: Path) -> None:
    scales, head, moved = one_step(recipe, data, folder)
    assert scales == {1.0, 10.0}
    assert head <= moved


def one_step(recipe: Recipe, data: Path, folder: Path) -> tuple[set[float], set[str], set[str]]:
    """Scales of the learning rate, the names of the head's weights, and those of all parameters that a step moved."""
    recipe, dataset, plan = prepare_training(recipe, data)
    assert plan.groups is not None
    stepper = stepper_at_start(recipe, plan, dataset, folder)
    model = stepper.parts.model
    assert isinstance(model, VisionModel)
    before = {name: value.clone() for name, value in model.named_parameters()}
    stepper.advance()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    return {group.lr_scale for group in plan.groups}, {f"{prefix}weight" for prefix in model.head_prefixes}, moved


def pretrained(name: str, folder: Path) -> str:
    """A file of weights of the model for five other classes."""
    torch.save(build(name, 5).state_dict(), folder / "pretrained.pth")
    return f"model.weights={folder / 'pretrained.pth'}"


ONE_STEP = ["batch.size=2", "batch.per_device=2", "schedule.warmup_epochs=0", "data.workers=0", "compile=false"]


@parametrised(CLASSIFIERS)
def test_fine_tuning_takes_any_classifier(name: str, photos: Path, tmp_path: Path) -> None:
    side = SIDES.get(name, 64)
    sizes = [f"augment.random_resized_crop.size={side}", f"preprocess.resize={side}", f"preprocess.crop={side}"]
    words = [f"model.name={name}", pretrained(name, tmp_path), *sizes, *ONE_STEP]
    assert_one_step_moves_the_head_ten_times_as_fast(cs.load_recipe("finetune-small", words), photos, tmp_path)


@parametrised([name for name in list_recipes("finetune-*") if cs.load_recipe(name).task == "classification"])
def test_each_recipe_for_fine_tuning_takes_a_step_from_a_file(name: str, photos: Path, tmp_path: Path) -> None:
    recipe = cs.load_recipe(name)
    side = "augment.random_crop.size=64" if recipe.augment.random_crop else "augment.random_resized_crop.size=64"
    sizes = [side, "preprocess.resize=64", "preprocess.crop=64"]
    words = [pretrained(recipe.model.name, tmp_path), *sizes, *ONE_STEP]
    _, head, moved = one_step(cs.load_recipe(name, words), photos, tmp_path)
    assert head < moved


@parametrised(SEGMENTERS)
def test_fine_tuning_takes_any_segmenter(name: str, scenes: Path, tmp_path: Path) -> None:
    model, _, option = name.partition(" ")
    words = [f"model.name={model}", pretrained(name, tmp_path), *ONE_STEP, "optimizer.lr_scales=[[head, 10]]"]
    words += ["augment.random_scale_crop.size=[64, 96]", *([f"model.options.{option}=true"] if option else [])]
    assert_one_step_moves_the_head_ten_times_as_fast(cs.load_recipe("resnet18_fcn-folder", words), scenes, tmp_path)


@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "timm/vit_tiny_patch16_224"])
def test_the_recipe_for_fine_tuning_plans_any_model_with_its_own_weights(name: str) -> None:
    plan = cs.plan(cs.load_recipe("finetune-small", [f"model.name={name}", "model.num_classes=3"]), 100)
    assert plan.groups is not None
    (fast,) = (group.names for group in plan.groups if group.lr_scale == 10)
    assert len(fast) == 2


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("resnet18", "resnet18.tv_v1"),
        ("resnet50", "resnet50.tv_v2"),
        ("convnext_tiny", "convnext_tiny.fb_in22k_ft_in1k"),
        ("resnet18_fcn", "resnet18.tv_v1"),
        ("hrnet_w18_seg", "hrnet_w18.ms_in1k"),
    ],
)
def test_a_run_names_the_weights_that_pretrained_stands_for(name: str, weights: str) -> None:
    assert settled(cs.load_recipe("finetune-small", [f"model.name={name}"])).model.weights == weights


def test_pretrained_weights_of_a_model_without_any_are_an_error() -> None:
    with pytest.raises(cs.ConvsmithError, match=r"no weights of `hrnet_w18_small_v1` are published .*\n.*weights=null"):
        cs.plan(cs.load_recipe("finetune-small", ["model.name=hrnet_w18_small_v1"]), 100)


@pytest.mark.parametrize(
    "words", [["freeze.names=backbone"], ["freeze.names=[backbone]"], ["freeze.names=['conv1.*']"]]
)
def test_a_rule_for_the_head_and_a_frozen_backbone_agree(words: list[str]) -> None:
    plan = cs.plan(cs.load_recipe("digits", [*words, "optimizer.lr_scales=[[head, 10]]"]), 100)
    assert plan.groups is not None
    (fast,) = (group.names for group in plan.groups if group.lr_scale == 10)
    assert fast == ("linear.weight", "linear.bias")


def test_a_frozen_head_leaves_the_backbone_to_learn() -> None:
    plan = cs.plan(cs.load_recipe("digits", ["freeze.names=head"]), 100)
    assert plan.groups is not None
    learning = {name for group in plan.groups for name in group.names}
    assert "conv1.weight" in learning
    assert not {"linear.weight", "linear.bias"} & learning


@pytest.mark.usefixtures("unpacked")
def test_a_run_begun_with_the_layers_name_goes_on_with_the_recipe_that_says_head(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name_tiny(monkeypatch)
    monkeypatch.setattr("convsmith.training.train.needs_rehearsal", lambda recipe: False)

    def recipe(rules: str) -> Recipe:
        one = ["model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0", "batch.size=24", "compile=false"]
        return cs.load_recipe("digits", [*SMALL[:4], *one, "data.workers=0", f"optimizer.lr_scales={rules}"])

    cs.train(recipe("[['head.*', 10]]"), digits, tmp_path / "run")
    run = cs.train(recipe("[[head, 10]]"), digits, tmp_path / "run")
    assert run.metrics[-1]["step"] == 2
    with pytest.raises(cs.ConvsmithError, match=r"these keys differ: optimizer\.lr_scales"):
        cs.train(recipe("[[head, 5]]"), digits, tmp_path / "run")
