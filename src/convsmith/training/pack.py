"""The end of a run: its weights as a bundle."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch

from convsmith.data.image_folder import ImageFolder
from convsmith.data.loader import val_loader
from convsmith.deploy.bundle import make_bundle
from convsmith.recipe.schema import Recipe
from convsmith.training.checkpoint import read_checkpoint, step_folder
from convsmith.training.model_plan import build_model
from convsmith.training.progress import Progress
from convsmith.training.run import Run
from convsmith.training.run_weights import judged_weights

logger = logging.getLogger(__name__)

PARITY_IMAGES = 256


def pack(recipe: Recipe, folder: ImageFolder, run: Run, progress: Progress) -> None:
    """Write the bundle of the best epoch's weights, the last one's without validation; averaged where those count."""
    assert progress.best is not None
    assert progress.best_step is not None
    best = read_checkpoint(step_folder(run.checkpoints, progress.best_step))
    model = build_model(recipe)
    model.load_state_dict(best.tensors[judged_weights(recipe)])
    logger.info("packing step %d into %s", progress.best_step, run.bundle)
    make_bundle(
        run.bundle,
        model,
        recipe,
        labels=folder.classes,
        metrics=progress.best,
        data_digest=progress.data_digest,
        images=_parity_images(recipe, folder),
    )


def _parity_images(recipe: Recipe, folder: ImageFolder) -> Iterator[torch.Tensor]:
    """Validation images, or training ones without those, evenly of all classes: uint8 [N, 3, crop, crop] in batches."""
    index = folder.val if len(folder.val) else folder.train
    count = min(PARITY_IMAGES, len(index))
    spread = index.select([i * len(index) // count for i in range(count)])
    for batch in val_loader(spread, recipe.preprocess, 32, workers=0):
        readable = batch.targets >= 0
        if readable.any():
            yield batch.images[readable]
