"""Each HRNet recipe for segmentation against its experiment file and the facts of its data set."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from convsmith.data.masks.mask_layouts import LAYOUTS
from convsmith.models.base import VisionModel
from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.objective import CrossEntropy, Ohem, PixelLoss
from convsmith.recipe.optimization import Poly, Sgd
from convsmith.recipe.packaged import list_recipes
from convsmith.recipe.schema import Recipe
from convsmith.spec import WholeImage, Window
from convsmith.training.update.groups import parameter_groups

GOLDENS = Path(__file__).parents[1] / "goldens/training"
HRNET = json.loads((GOLDENS / "recipes_segmentation.json").read_text(encoding="utf-8"))
ENTRIES = {entry["file"].removeprefix("experiments/").removesuffix(".yaml"): entry for entry in HRNET["entries"]}
FACTS = HRNET["dataset_facts"]
DECAY = json.loads(Path(GOLDENS / "layer_decay_downstream.json").read_text(encoding="utf-8"))

RECIPES = {
    "ade20k/seg_hrnet_ocr_w48_520x520_ohem_sgd_lr2e-2_wd1e-4_bs_16_epoch120": "hrnet_w48_ocr-ade20k-ohem",
    "ade20k/seg_hrnet_ocr_w48_520x520_ohem_sgd_lr2e-2_wd1e-4_bs_16_epoch120_paddle": "hrnet_w48_ocr-ade20k-ohem-ssld",
    "ade20k/seg_hrnet_w48_520x520_ohem_sgd_lr2e-2_wd1e-4_bs_16_epoch120": "hrnet_w48_seg-ade20k-ohem",
    "ade20k/seg_hrnet_w48_520x520_ohem_sgd_lr2e-2_wd1e-4_bs_16_epoch120_paddle": "hrnet_w48_seg-ade20k-ohem-ssld",
    "ade20k/seg_hrnet_w48_520x520_sgd_lr2e-2_wd1e-4_bs_16_epoch120": "hrnet_w48_seg-ade20k",
    "cityscapes/seg_hrnet_ocr_w48_train_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484": "hrnet_w48_ocr-cityscapes",
    "cityscapes/seg_hrnet_ocr_w48_train_512x1024_sgd_lr1e-2_wd5e-4_bs_16_epoch484_paddle": (
        "hrnet_w48_ocr-cityscapes-ssld"
    ),
    "cityscapes/seg_hrnet_ocr_w48_trainval_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484": (
        "hrnet_w48_ocr-cityscapes-trainval"
    ),
    "cityscapes/seg_hrnet_w48_train_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484": "hrnet_w48_seg-cityscapes",
    "cityscapes/seg_hrnet_w48_train_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484_paddle": "hrnet_w48_seg-cityscapes-ssld",
    "cityscapes/seg_hrnet_w48_train_512x1024_sgd_lr1e-2_wd5e-4_bs_16_epoch484_paddle": (
        "hrnet_w48_seg-cityscapes-ssld-bs8"
    ),
    "cityscapes/seg_hrnet_w48_train_ohem_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484": "hrnet_w48_seg-cityscapes-ohem",
    "cityscapes/seg_hrnet_w48_trainval_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484x2": (
        "hrnet_w48_seg-cityscapes-trainval"
    ),
    "cityscapes/seg_hrnet_w48_trainval_ohem_512x1024_sgd_lr1e-2_wd5e-4_bs_12_epoch484x2": (
        "hrnet_w48_seg-cityscapes-trainval-ohem"
    ),
    "cocostuff/seg_hrnet_ocr_w48_520x520_ohem_sgd_lr1e-3_wd1e-4_bs_16_epoch110": "hrnet_w48_ocr-cocostuff-ohem",
    "cocostuff/seg_hrnet_ocr_w48_520x520_ohem_sgd_lr1e-3_wd1e-4_bs_16_epoch110_paddle": (
        "hrnet_w48_ocr-cocostuff-ohem-ssld"
    ),
    "cocostuff/seg_hrnet_w48_520x520_ohem_sgd_lr1e-3_wd1e-4_bs_16_epoch110": "hrnet_w48_seg-cocostuff-ohem",
    "cocostuff/seg_hrnet_w48_520x520_ohem_sgd_lr1e-3_wd1e-4_bs_16_epoch110_paddle": "hrnet_w48_seg-cocostuff-ohem-ssld",
    "cocostuff/seg_hrnet_w48_520x520_sgd_lr1e-3_wd1e-4_bs_16_epoch110": "hrnet_w48_seg-cocostuff",
    "lip/seg_hrnet_ocr_w48_473x473_sgd_lr7e-3_wd5e-4_bs_40_epoch150": "hrnet_w48_ocr-lip",
    "lip/seg_hrnet_w48_473x473_sgd_lr7e-3_wd5e-4_bs_40_epoch150": "hrnet_w48_seg-lip",
    "lip/seg_hrnet_w48_473x473_sgd_lr7e-3_wd5e-4_bs_40_epoch150_paddle": "hrnet_w48_seg-lip-ssld",
    "pascal_ctx/seg_hrnet_ocr_w48_cls59_520x520_sgd_lr1e-3_wd1e-4_bs_16_epoch200": "hrnet_w48_ocr-pascal_context_59",
    "pascal_ctx/seg_hrnet_ocr_w48_cls60_520x520_sgd_lr1e-3_wd1e-4_bs_16_epoch200": "hrnet_w48_ocr-pascal_context_60",
    "pascal_ctx/seg_hrnet_w48_cls59_520x520_sgd_lr1e-3_wd1e-4_bs_16_epoch200": "hrnet_w48_seg-pascal_context_59",
    "pascal_ctx/seg_hrnet_w48_cls59_520x520_sgd_lr1e-3_wd1e-4_bs_16_epoch200_paddle": (
        "hrnet_w48_seg-pascal_context_59-ssld"
    ),
}


@cache
def model_of(name: str) -> VisionModel:
    """The model without memory, of any number of classes: that and its options change no parameter's name."""
    with torch.device("meta"):
        return create_model(name)


def test_every_experiment_has_a_recipe() -> None:
    assert set(RECIPES) == set(ENTRIES)
    assert set(RECIPES.values()) == set(list_recipes("hrnet_w48_seg-*")) | set(list_recipes("hrnet_w48_ocr-*"))


@pytest.fixture(params=sorted(ENTRIES))
def pair(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Recipe]:
    """The facts of an experiment, and its recipe."""
    return ENTRIES[request.param], load_recipe(RECIPES[request.param])


def test_model_and_weights(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    assert recipe.model.name == {"seg_hrnet": "hrnet_w48_seg", "seg_hrnet_ocr": "hrnet_w48_ocr"}[entry["model"]]
    assert recipe.model.options == {"align_corners": entry["align_corners"]}
    own = "HRNet_W48_C_ssld_pretrained.pth"  # the other names are of the one published file
    assert recipe.model.weights == (own if entry["pretrained"] == own else "hrnet_w48.ms_in1k")
    assert recipe.model.sync_batch_norm
    assert recipe.seed == 304


def test_steps_and_rates(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    schedule, optimizer = recipe.schedule, recipe.optimizer
    assert isinstance(schedule, Poly)
    assert isinstance(optimizer, Sgd)
    assert (schedule.epochs, schedule.power, schedule.shift, schedule.min_lr) == (entry["epochs"], 0.9, -1, 0.0)
    assert (optimizer.lr, optimizer.weight_decay) == (entry["lr"], entry["wd"])
    assert (optimizer.momentum, optimizer.nesterov, optimizer.norm_weight_decay) == (0.9, False, None)
    assert (recipe.batch.size, recipe.data.last_batch) == (entry["total_batch"], "drop")
    extra = (schedule.extra.epochs, schedule.extra.lr) if schedule.extra else (None, None)
    assert extra == (entry.get("extra_epochs"), entry.get("extra_lr"))


def test_which_parts_are_trained_on(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    masks = recipe.data.masks
    assert masks is not None
    layouts = {"pascal_ctx": f"pascal_context_{entry['num_classes']}", "cocostuff": "coco_stuff"}
    assert masks.layout == layouts.get(entry["dataset"], entry["dataset"])
    labels = LAYOUTS[masks.layout].labels
    assert labels is not None
    assert len(labels.names) == entry["num_classes"]
    parts = {"train": "train", "trainList": "train", "trainval": "train+val"}
    assert masks.train == parts[Path(entry["train_list"]).stem]
    assert masks.val == "val"
    assert masks.extra == (parts[Path(entry["extra_train_list"]).stem] if "extra_train_list" in entry else None)


def test_the_loss(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    loss = recipe.loss
    assert isinstance(loss, PixelLoss)
    if entry["use_ohem"]:
        assert isinstance(loss, Ohem)
        assert (loss.threshold, loss.min_kept) == (entry["ohem_thres"], entry["ohem_keep"])
    else:
        assert isinstance(loss, CrossEntropy)
        assert loss.label_smoothing == 0
    assert loss.output_weights == (tuple(entry["balance_weights"]) if entry["num_outputs"] == 2 else None)
    assert loss.align_corners is None  # as the model
    weights = FACTS[entry["dataset"]]["class_weights"]
    assert loss.class_weights == (None if weights is None else tuple(weights))


def test_the_training_images(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    augment, crop = recipe.augment, recipe.augment.random_scale_crop
    assert crop is not None
    width, height = entry["train_size_wh"]
    assert (crop.size, crop.base_size, augment.hflip) == ((height, width), entry["base_size"], 0.5)
    assert (crop.scale, crop.scale_step) == ((0.5, {16: 2.1, 11: 1.6}[entry["scale_factor"]]), 0.1)
    first = {"cityscapes": None, "lip": "warp"}.get(entry["dataset"], "shorter_side")
    assert (crop.resize_first, augment.mask_downsample_rate) == (first, 1.0)
    assert (augment.color_jitter, augment.brightness_shift, augment.vflip) == (None, 0, 0)


def test_how_images_are_judged(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    width, height = entry["test_size_wh"]
    whole = recipe.preprocess
    assert isinstance(whole, WholeImage)
    assert (whole.base_size, whole.scales, whole.flip) == (entry["test_base_size"], (1.0,), entry["flip_test"])
    assert whole.align_corners == entry["align_corners"]
    window = Window(size=(height, width))
    if entry["dataset"] == "cityscapes":
        window = Window(size=(height, width), stride=(height, width), border="shift", above_scale=1)
    assert (whole.window, whole.warp) == (window, entry["dataset"] == "lip")
    assert whole.mirrored_classes == (((14, 15), (16, 17), (18, 19)) if entry["dataset"] == "lip" else ())


def test_the_head_learns_ten_times_as_fast_where_the_experiment_says_so(pair: tuple[dict[str, Any], Recipe]) -> None:
    entry, recipe = pair
    model = model_of(recipe.model.name)
    words = entry.get("nonbackbone_keywords", [])
    names = [name for name, _ in model.named_parameters()]
    groups = {group.lr_scale: set(group.names) for group in parameter_groups(model, recipe.optimizer)}
    fast = {name for name in names if any(word in name for word in words)}
    assert groups == ({1.0: set(names) - fast, entry["nonbackbone_mult"]: fast} if words else {1.0: set(names)})


def test_the_second_phase_has_epochs_of_its_own() -> None:
    facts = FACTS["cityscapes"]
    recipe = load_recipe("hrnet_w48_seg-cityscapes-trainval")
    plan = make_plan(recipe, facts["train_images"], extra_samples=facts["trainval_images"])
    assert plan.steps_per_epoch == facts["train_images"] // 12
    assert plan.extra == {
        "num_samples": facts["trainval_images"],
        "steps_per_epoch": facts["trainval_images"] // 12,
        "first_epoch": 484,
    }
    first = 484 * plan.steps_per_epoch
    assert plan.total_steps == len(plan.lr) == first + 484 * (facts["trainval_images"] // 12)
    assert plan.total_epochs == 968
    assert plan.lr[first + 1] == 0.001
    assert plan.lr[first] < 1e-5  # what was left over of the first phase


# Each configuration of semantic_segmentation/configs/convnext: crop, drop path, rate, layers of its decay, weights.
CONVNEXT = {
    "convnext_tiny_upernet-ade20k": (512, 0.4, 1e-4, 6, "fb_in1k"),
    "convnext_small_upernet-ade20k": (512, 0.3, 1e-4, 12, "fb_in1k"),
    "convnext_base_upernet-ade20k": (512, 0.4, 1e-4, 12, "fb_in1k"),
    "convnext_base_upernet-ade20k-640": (640, 0.4, 1e-4, 12, "fb_in22k"),
    "convnext_large_upernet-ade20k-640": (640, 0.4, 1e-4, 12, "fb_in22k"),
    "convnext_xlarge_upernet-ade20k-640": (640, 0.4, 8e-5, 12, "fb_in22k"),
}


@pytest.mark.parametrize("name", CONVNEXT)
def test_convnext_on_ade20k_is_as_configured(name: str) -> None:
    crop, drop_path, lr, _, weights = CONVNEXT[name]
    recipe, model = load_recipe(name), name.partition("_upernet")[0]
    assert (recipe.model.name, recipe.model.weights) == (f"{model}_upernet", f"{model}.{weights}")
    assert recipe.model.options == {"drop_path": drop_path}
    assert (recipe.batch.size, recipe.optimizer.lr, recipe.optimizer.weight_decay) == (16, lr, 0.05)
    assert recipe.augment.random_scale_crop is not None
    assert recipe.augment.size == (crop, crop)
    assert isinstance(recipe.preprocess, WholeImage)
    assert {recipe.augment.random_scale_crop.base_size, recipe.preprocess.base_size} == {round(crop * 4 / 3)}
    plan = make_plan(recipe, FACTS["ade20k"]["train_images"])
    assert plan.total_steps == pytest.approx(160_000, rel=0.005)


@pytest.mark.parametrize("name", CONVNEXT)
def test_convnext_decays_its_stages_by_their_number(name: str) -> None:
    """As get_num_layer_stage_wise of mmcv_custom/layer_decay_optimizer_constructor.py."""
    layers = CONVNEXT[name][3] + 2
    recipe = load_recipe(name)
    model = model_of(recipe.model.name)
    scales = {it: group.lr_scale for group in parameter_groups(model, recipe.optimizer) for it in group.names}
    for parameter, scale in scales.items():
        part, _, rest = parameter.removeprefix("backbone.").partition(".")
        layer = {"downsample_layers": 0, "stages": 1 + int(rest[0]) if rest[:1].isdigit() else 0}.get(part, layers - 1)
        assert scale == pytest.approx(0.9 ** (layers - 1 - layer), rel=1e-12), parameter


def test_convnext_decays_its_stages_as_published() -> None:
    """The official function's groups for a ConvNeXt-T, `stage_wise`."""
    recipe = load_recipe("convnext_tiny_upernet-ade20k")
    groups = parameter_groups(model_of(recipe.model.name), recipe.optimizer)
    found = {name: (group.lr_scale, group.weight_decay > 0) for group in groups for name in group.names}
    for name, (_, scale, decayed) in DECAY["params"].items():
        if name in found:
            assert found[name][0] == pytest.approx(scale), name
            assert found[name][1] == decayed, name
    assert len(found.keys() & DECAY["params"].keys()) > 50
    heads = {scale for name, (scale, _) in found.items() if not name.startswith("backbone.")}
    assert heads == {1.0}
