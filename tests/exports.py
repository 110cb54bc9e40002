"""A run directory as training leaves it, without the training."""

from __future__ import annotations

from pathlib import Path

import torch

from convsmith.models.base import VisionModel
from convsmith.recipe.load import load_recipe, recipe_to_yaml
from convsmith.training.checkpoints.checkpoint import save_checkpoint, tidy
from convsmith.training.run import Run
from tests.colours import LABELS, colour_model, picture, write_colour_bundle
from tests.models.every import live

SIDE = 32


def write_run(path: Path, *overrides: str) -> VisionModel:
    """A run of ResNet-20 on colours, with its bundle, whose ONNX file is a stand-in; returns its model."""
    recipe = load_recipe("cifar_resnet20-cifar10", ["model.num_classes=3", "ema=null", *overrides])
    model = live("cifar_resnet20")
    model.reset_head(3)
    run = Run(path)
    run.checkpoints.mkdir(parents=True)
    (path / "recipe.yaml").write_text(recipe_to_yaml(recipe))
    save_checkpoint(run.checkpoints, 1, {"model": model.state_dict()}, {})
    tidy(run.checkpoints, 1, keep=1)
    write_colour_bundle(
        run.bundle,
        colour_model(side=SIDE),
        preprocess=recipe.preprocess,
        recipe=recipe.model_dump(mode="json"),
        metrics={"top1": 0.5},
    )
    return model


def write_colours(root: Path, count: int = 4) -> Path:
    """Pictures of the three colours, `count` of each with some noise, in class folders."""
    generator = torch.Generator().manual_seed(0)
    for label in LABELS:
        (root / label).mkdir(parents=True)
        for number in range(count):
            side = int(torch.randint(20, 60, (), generator=generator))
            (root / label / f"{number}.png").write_bytes(picture(label, size=(side, side + number)))
    return root
