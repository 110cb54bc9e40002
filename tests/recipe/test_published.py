"""Each published recipe of the library against the facts that its publication states (recipes.json)."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import torch

from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.packaged import list_recipes
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.spec import Preprocess
from convsmith.training.update.groups import parameter_groups

FACTS = json.loads((Path(__file__).parents[1] / "goldens/training/recipes.json").read_text(encoding="utf-8"))
TV, RESNEST, CONVNEXT = FACTS["torchvision"], FACTS["resnest"], FACTS["convnext"]
IMAGENET = 1_281_167
SAMPLES = 100_000  # enough for steps in each epoch; a plan of all of ImageNet takes a second


@cache
def planned(name: str) -> tuple[Recipe, Plan]:
    recipe = load_recipe(name)
    return recipe, make_plan(recipe, SAMPLES)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("resnet50-in1k", 5005),
        ("resnet50-ladder-11-resize", 1252),
        ("resnet50-in1k-v2", 1281167 // 256 * 256 // 1024),
        ("resnest50-in1k", 157),
        ("convnext_base-in1k", 312),
        ("convnext_base-in22k-in1k", 2502),
    ],
)
def test_an_epoch_of_imagenet_has_the_official_number_of_steps(name: str, steps: int) -> None:
    assert make_plan(load_recipe(name, ["schedule.epochs=51"]), IMAGENET).steps_per_epoch == steps


def marks(plan: Plan) -> tuple[float, float, float]:
    """First, highest and last learning rate."""
    return plan.lr[0], max(plan.lr), plan.lr[-1]


def close(values: Any) -> Any:
    return pytest.approx(values, rel=1e-9, abs=1e-18)


class TestTorchvision:
    """Every argument of its train.py that says what is trained."""

    # Speed, another form of what is compared, and strengths of what none of the recipes uses.
    NOT_COMPARED = frozenset(
        {"amp", "batch_size", "gpus", "ra_magnitude", "augmix_severity", "transformer_embedding_decay"}
    )

    def arguments(self, recipe: Recipe, plan: Plan) -> dict[str, Any]:
        """The recipe in torchvision's words."""
        crop, policy = recipe.augment.random_resized_crop, recipe.augment.policy
        erasing, mixing, ema, optimizer = recipe.augment.random_erasing, recipe.mixing, recipe.ema, recipe.optimizer
        assert crop is not None
        schedule: Any = recipe.schedule
        loss: Any = recipe.loss
        assert isinstance(recipe.preprocess, Preprocess)
        found = {
            "model": recipe.model.name.removeprefix("torchvision/"),
            "total_batch": plan.effective_batch,
            "epochs": plan.total_epochs,
            "opt": optimizer.name,
            "lr": optimizer.lr,
            "momentum": getattr(optimizer, "momentum", 0.9),
            "weight_decay": optimizer.weight_decay,
            "norm_weight_decay": optimizer.norm_weight_decay,
            "bias_weight_decay": optimizer.bias_weight_decay,
            "label_smoothing": loss.label_smoothing,
            "mixup_alpha": mixing.mixup_alpha if mixing else 0.0,
            "cutmix_alpha": mixing.cutmix_alpha if mixing else 0.0,
            "lr_scheduler": {"step": "steplr", "cosine": "cosineannealinglr"}[schedule.name],
            "lr_warmup_epochs": schedule.warmup_epochs,
            "lr_min": getattr(schedule, "min_lr", 0.0),
            "sync_bn": recipe.model.sync_batch_norm,
            "auto_augment": {"trivial_augment": "ta_wide", "auto_augment": "imagenet"}[policy.name] if policy else None,
            "random_erase": erasing.probability if erasing else 0.0,
            "model_ema": ema is not None,
            "interpolation": crop.interpolation,
            "val_resize_size": recipe.preprocess.resize,
            "val_crop_size": recipe.preprocess.crop,
            "train_crop_size": crop.size,
            "clip_grad_norm": recipe.clip_grad_norm,
            "ra_sampler": recipe.sampling.name == "repeated",
        }
        # What counts only where something is on; ANY where it is off.
        steps, warm, repeated = schedule.name == "step", schedule.warmup_epochs, recipe.sampling.name == "repeated"
        return found | {
            "lr_step_size": schedule.every_epochs if steps else ANY,
            "lr_gamma": schedule.gamma if steps else ANY,
            "lr_warmup_method": schedule.warmup if warm else ANY,
            "lr_warmup_decay": pytest.approx(schedule.warmup_lr / optimizer.lr) if warm else ANY,
            "model_ema_steps": ema.every_steps if ema else ANY,
            "model_ema_decay": ema.decay if ema else ANY,
            "ra_reps": getattr(recipe.sampling, "repetitions", ANY) if repeated else ANY,
        }

    def check(self, name: str, hyper: dict[str, Any]) -> None:
        recipe, plan = planned(name)
        assert self.arguments(recipe, plan) == {key: hyper[key] for key in hyper if key not in self.NOT_COMPARED}
        self.check_what_no_argument_says(recipe)
        epochs, warmup, lr = hyper["epochs"], hyper["lr_warmup_epochs"], hyper["lr"]
        last = lr * (1 + math.cos(math.pi * (epochs - 1 - warmup) / (epochs - warmup))) / 2
        if hyper["lr_scheduler"] == "steplr":
            last = lr * hyper["lr_gamma"] ** ((epochs - 1) // hyper["lr_step_size"])
        assert marks(plan) == close((lr * (hyper["lr_warmup_decay"] if warmup else 1), lr, last))

    def check_what_no_argument_says(self, recipe: Recipe) -> None:
        augment, mixing, ema = recipe.augment, recipe.mixing, recipe.ema
        schedule: Any = recipe.schedule
        assert (augment.hflip, augment.color_jitter, augment.lighting) == (0.5, None, 0)
        assert (schedule.by, schedule.shift, schedule.warmup_reaches_lr) == ("epoch", 0, "after")
        assert not mixing or (mixing.partner, mixing.probability, mixing.switch_probability) == ("rolled", 1, 0.5)
        assert not ema or (ema.warmup, ema.scale_to_epochs, ema.copy_in_warmup) == ("none", True, True)
        assert (recipe.data.last_batch == "drop") == (recipe.sampling.name == "repeated")

    @pytest.mark.parametrize(
        ("name", "entry"),
        [
            ("resnet50-in1k", "resnet50_IMAGENET1K_V1"),
            ("resnet50-in1k-v2", "resnet50_IMAGENET1K_V2"),
            ("convnext_tiny-in1k-torchvision", "convnext_tiny_torchvision"),
        ],
    )
    def test_recipe(self, name: str, entry: str) -> None:
        self.check(name, TV[entry]["hyper"])

    @pytest.mark.parametrize("entry", TV["readme_commands"]["commands"], ids=lambda entry: entry["model"])
    def test_commands_of_the_readme(self, entry: dict[str, Any]) -> None:
        hyper = TV["train_py_defaults"] | {"model": entry["model"]} | entry["changes"]
        self.check(f"{entry['model']}-in1k", hyper | {"total_batch": 8 * hyper["batch_size"]})

    @pytest.mark.parametrize("name", ["mobilenet_v3_large-in1k", "mobilenet_v3_small-in1k"])
    def test_its_rmsprop_has_an_eps_of_its_own(self, name: str) -> None:
        optimizer: Any = load_recipe(name).optimizer
        assert {"eps": optimizer.eps, "alpha": optimizer.alpha} == TV["readme_commands"]["rmsprop"]

    @pytest.mark.parametrize("depth", [18, 34, 101, 152])
    def test_first_recipe_of_other_depths(self, depth: int) -> None:
        self.check(f"resnet{depth}-in1k", TV["resnet50_IMAGENET1K_V1"]["hyper"] | {"model": f"resnet{depth}"})

    @pytest.mark.parametrize("step", range(1, 13))
    def test_ladder(self, step: int) -> None:
        """All changes up to a step, and the batch on its 8 GPUs."""
        hyper = TV["train_py_defaults"] | {"model": "resnet50"}
        for rung in TV["ladder"][: step + 1]:
            hyper |= rung["changes"]
        [name] = list_recipes(f"resnet50-ladder-{step:02}-*")
        self.check(name, hyper | {"total_batch": hyper["gpus"] * hyper["batch_size"]})

    @pytest.mark.parametrize("entry", TV["same_recipe_other_models"], ids=lambda entry: entry["weights"])
    def test_new_recipe_of_other_models(self, entry: dict[str, Any]) -> None:
        model = entry["weights"].partition("_Weights")[0].lower()
        fixres = entry["recipe_link"].endswith("fixres")
        crop = {"train_crop_size": 176 if fixres else 224}
        changes = {"model": model, "ra_sampler": False, "val_resize_size": entry["eval_resize"]} | crop
        self.check(f"{model}-in1k-v2", TV["resnet50_IMAGENET1K_V2"]["hyper"] | changes)


class TestResNeSt:
    @pytest.mark.parametrize("entry", RESNEST["models"], ids=lambda entry: entry["name"])
    def test_recipe(self, entry: dict[str, Any]) -> None:
        hyper, batch = RESNEST["gluon_resnest50"]["hyper"], entry["timm_docs_batch"]
        recipe, plan = planned(f"{entry['name']}-in1k")
        peak = hyper["lr_per_gpu"] * batch / hyper["batch_size_per_gpu"]
        assert recipe.model.name == entry["name"]
        assert recipe.model.options == {
            "last_gamma": hyper["last_gamma_zero"],
            **({"final_drop": entry["final_drop"]} if entry["final_drop"] else {}),
        }
        assert (plan.effective_batch, plan.total_epochs) == (batch, hyper["epochs"])
        warmup = hyper["warmup_epochs"] * plan.steps_per_epoch
        assert marks(plan) == close((peak / warmup, peak, 0.0))
        assert plan.lr[warmup - 1] == peak
        assert recipe.model.drop_block is not None
        assert (recipe.model.drop_block.start, recipe.model.drop_block.end) == (0, 0.1)
        optimizer: Any = recipe.optimizer
        assert (optimizer.name, optimizer.nesterov, optimizer.momentum) == ("sgd", True, hyper["momentum"])
        assert (optimizer.weight_decay, optimizer.norm_weight_decay, optimizer.bias_weight_decay) == (hyper["wd"], 0, 0)
        mixing = recipe.mixing
        assert mixing is not None
        assert (mixing.mixup_alpha, mixing.cutmix_alpha, mixing.probability) == (hyper["mixup_alpha"], 0, 1)
        assert (mixing.partner, mixing.off_epochs) == ("reversed", hyper["mixup_off_epoch"])
        loss: Any = recipe.loss
        assert loss.label_smoothing == hyper["label_smoothing"]
        assert recipe.ema is None

    @pytest.mark.parametrize("entry", RESNEST["models"], ids=lambda entry: entry["name"])
    def test_images(self, entry: dict[str, Any]) -> None:
        hyper, size = RESNEST["gluon_resnest50"]["hyper"], entry["train_test_crop"]
        recipe, _ = planned(f"{entry['name']}-in1k")
        augment, policy, jitter = recipe.augment, recipe.augment.policy, recipe.augment.color_jitter
        crop = augment.random_resized_crop if size < 320 else augment.efficientnet_crop
        assert crop is not None
        assert crop.interpolation == ("bilinear" if size < 320 else "bicubic")
        assert isinstance(recipe.preprocess, Preprocess)
        assert (augment.size, recipe.preprocess.crop) == ((size, size), size)
        assert recipe.preprocess.resize == size + 32
        assert policy is not None
        assert (policy.name, policy.before_crop) == ("resnest_auto_augment", True)
        assert jitter is not None
        assert {jitter.brightness, jitter.contrast, jitter.saturation} == {hyper["color_jitter"]}
        assert (augment.hflip, augment.lighting, augment.random_erasing) == (0.5, hyper["lighting"], None)


def test_resnests_own_resnet50_is_that_of_its_only_configuration() -> None:
    facts = RESNEST["torch_Base_ResNet50_yaml"]
    recipe, plan = planned("resnest50_radix1-in1k")
    optimizer: Any = recipe.optimizer
    scale = plan.effective_batch / facts["BATCH_SIZE_per_gpu"]
    assert marks(plan)[:2] == close((scale * facts["LR_per_gpu"],) * 2)
    assert (plan.total_epochs, recipe.schedule.name) == (facts["EPOCHS"], "cosine")
    assert (optimizer.momentum, optimizer.nesterov) == (facts["MOMENTUM"], False)
    assert (optimizer.weight_decay, optimizer.norm_weight_decay) == (facts["WEIGHT_DECAY"], None)
    assert recipe.augment.size == (facts["CROP_SIZE"],) * 2
    assert (recipe.augment.policy, recipe.mixing, recipe.ema, recipe.model.options) == (None, None, None, {})
    loss: Any = recipe.loss
    assert loss.label_smoothing == facts["LABEL_SMOOTHING"]
    assert recipe.augment.efficientnet_crop is not None
    assert recipe.augment.efficientnet_crop.interpolation == "bilinear"


def convnext_name(entry: dict[str, Any]) -> str:
    """The library's name of one of TRAINING.md's commands."""
    kind, model, size = entry["name"].split("/")[1:]
    middle = {"train_1k": "in1k", "pretrain_22k": "in22k", "finetune_from_1k": "in1k"}.get(kind, "in22k-in1k")
    return f"{model}-{middle}{'-384' if size == '384' else ''}"


@pytest.mark.parametrize("entry", CONVNEXT["entries"], ids=lambda entry: entry["name"])
class TestConvNeXt:
    def test_recipe(self, entry: dict[str, Any]) -> None:
        hyper, shared = entry["hyper"], CONVNEXT["shared_by_all_entries"]
        recipe, plan = planned(convnext_name(entry))
        optimizer: Any = recipe.optimizer
        schedule: Any = recipe.schedule
        ema, mixing = recipe.ema, recipe.mixing
        assert {
            "epochs": plan.total_epochs,
            "model": recipe.model.name,
            "drop_path": recipe.model.options["drop_path"],
            "input_size": recipe.augment.size[0],
            "layer_scale_init_value": recipe.model.options["layer_scale_init_value"],
            "model_ema": ema is not None,
            "model_ema_eval": ema is not None and ema.judge == "ema",
            "weight_decay": optimizer.weight_decay,
            "lr": optimizer.lr,
            "layer_decay": optimizer.layer_decay or 1.0,
            "warmup_epochs": schedule.warmup_epochs,
            "mixup": mixing.mixup_alpha if mixing else 0.0,
            "cutmix": mixing.cutmix_alpha if mixing else 0.0,
            "head_init_scale": recipe.model.options.get("head_init_scale", 1.0),
            "nb_classes": recipe.model.num_classes,
            "disable_eval": not recipe.eval,
            "finetune_from_checkpoint": recipe.model.weights is not None,
        } == {key: value for key, value in hyper.items() if key != "data_set"}
        assert plan.effective_batch == entry["effective_batch"]
        assert (optimizer.name, optimizer.eps, optimizer.betas) == (shared["opt"], shared["opt_eps"], (0.9, 0.999))
        assert (optimizer.vector_weight_decay, optimizer.weight_decay_end, plan.weight_decay) == (0, None, None)
        loss: Any = recipe.loss
        assert loss.label_smoothing == shared["smoothing"]
        assert recipe.clip_grad_norm is shared["clip_grad"]
        assert not ema or (ema.decay, ema.warmup) == (shared["model_ema_decay"], "none")
        assert not mixing or (mixing.probability, mixing.switch_probability, mixing.partner) == (
            shared["mixup_prob"],
            shared["mixup_switch_prob"],
            "reversed",
        )

    def test_curve(self, entry: dict[str, Any]) -> None:
        hyper, low = entry["hyper"], CONVNEXT["shared_by_all_entries"]["min_lr"]
        _, plan = planned(convnext_name(entry))
        warmup = hyper["warmup_epochs"] * plan.steps_per_epoch
        falling = plan.total_steps - warmup
        last = low + (hyper["lr"] - low) * (1 + math.cos(math.pi * (falling - 1) / falling)) / 2
        assert marks(plan) == close((0.0 if warmup else hyper["lr"], hyper["lr"], last))
        assert plan.lr[warmup] == hyper["lr"]
        assert warmup == 0 or plan.lr[warmup - 1] == hyper["lr"]

    def test_images(self, entry: dict[str, Any]) -> None:
        shared = CONVNEXT["shared_by_all_entries"]
        recipe, _ = planned(convnext_name(entry))
        augment, policy = recipe.augment, recipe.augment.policy
        crop, erasing = augment.random_resized_crop, augment.random_erasing
        assert crop is not None
        assert (crop.interpolation, crop.scale, augment.hflip) == (shared["train_interpolation"], (0.08, 1.0), 0.5)
        assert policy is not None
        assert policy.name == "timm_rand_augment"
        assert (policy.num_ops, policy.magnitude, policy.magnitude_std, policy.increasing) == (2, 9, 0.5, True)
        assert policy.interpolation == shared["train_interpolation"]
        assert augment.color_jitter is None  # timm leaves it out beside a policy
        assert erasing is not None
        assert (erasing.probability, erasing.value) == (shared["reprob"], "noise")
        size = entry["hyper"]["input_size"]
        resize, method = (size, "warp") if size >= 384 else (256, "resize_then_crop")
        assert isinstance(recipe.preprocess, Preprocess)
        assert (recipe.preprocess.crop, recipe.preprocess.resize, recipe.preprocess.method) == (size, resize, method)
        assert recipe.preprocess.interpolation == "bicubic"


def test_the_cosine_of_90_epochs() -> None:
    recipe, plan = planned("resnet50-in1k-cosine")
    hyper = FACTS["resnet50_90_epochs_cosine_baseline"]["hyper"]
    optimizer: Any = recipe.optimizer
    assert (plan.total_epochs, plan.effective_batch) == (hyper["epochs"], hyper["batch"])
    assert (optimizer.momentum, optimizer.nesterov) == (hyper["momentum"], hyper["nesterov"])
    assert (optimizer.weight_decay, recipe.augment.size) == (hyper["weight_decay"], (hyper["crop"],) * 2)
    last = hyper["lr"] * (1 + math.cos(math.pi * (plan.total_steps - 1) / plan.total_steps)) / 2
    assert marks(plan) == close((hyper["lr"], hyper["lr"], last))


@pytest.mark.parametrize(
    ("name", "decays"),
    [
        ("resnet50-in1k", {1e-4: "all"}),
        ("resnet50-in1k-v2", {2e-5: "the rest", 0: "norms"}),
        ("resnest50-in1k", {1e-4: "the rest", 0: "norms and biases"}),
        ("convnext_tiny-in1k", {0.05: "the rest", 0: "vectors"}),
        ("convnext_tiny-in1k-torchvision", {0.05: "the rest", 0: "norms"}),
    ],
)
def test_weight_decay_of_groups(name: str, decays: dict[float, str]) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        model = create_model(recipe.model.name, num_classes=recipe.model.num_classes or 2)
    groups = parameter_groups(model, recipe.optimizer)
    assert sorted(group.weight_decay for group in groups) == sorted(decays)
    parameters = dict(model.named_parameters())
    undecayed = {name for group in groups if group.weight_decay == 0 for name in group.names}
    vectors = {name for name, parameter in parameters.items() if parameter.ndim == 1}
    match decays.get(0):
        case "vectors" | "norms and biases":
            assert undecayed == vectors
        case "norms":  # the biases of other layers and layer scales are decayed
            assert undecayed < vectors
            assert {"fc.bias", "head.bias"} & (vectors - undecayed)
