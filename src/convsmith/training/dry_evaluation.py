"""Judging by one image before the first step, since what fails there would fail after the first epoch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

from convsmith.bundle.task import find_task
from convsmith.data.loading.loader import Batch
from convsmith.errors import ConvsmithError, printable
from convsmith.training.evaluation import NotFinite, evaluate
from convsmith.training.memory import OutOfMemory
from convsmith.training.parts import Parts
from convsmith.training.session import Session

logger = logging.getLogger(__name__)

_LARGE = 4_000_000
"""Pixels of an image whose judging may take long enough to be announced."""


def try_evaluation(session: Session, parts: Parts, samples: Sequence[int]) -> None:
    """Judge the model as it is by some validation images, and forget the answers.

    Args:
        session: which training.
        parts: model and task.
        samples: which images; of those that all become one size the first will do.

    Raises:
        ConvsmithError: the model cannot judge one of them; it names the image.
    """
    recipe, dataset = session.recipe, session.dataset
    read = dataset.validation_reader("val", recipe.preprocess)
    one_size = find_task(recipe.task).one_size
    copies = min(session.plan.per_device_batch, len(dataset.val)) if one_size else 1
    for i in samples[:1] if one_size else samples:
        image, target = read(i)
        batch = Batch(image.expand(copies, *image.shape), target.expand(copies, *target.shape), [])
        seen = f"the validation image {printable(dataset.val.name(i))}, {image.shape[2]} x {image.shape[1]} pixels"
        if image.shape[1] * image.shape[2] > _LARGE:
            logger.info("trying to judge by %s before the training begins", seen)
        try:
            with suppress(NotFinite):  # before it has learned anything, a deep model may
                evaluate(parts, parts.model, [batch])
        except OutOfMemory as error:
            smaller = "Look at images in parts with preprocess.window, choose a smaller size in preprocess"
            raise ConvsmithError(
                f"memory does not suffice to judge by {seen}", error.why, f"{smaller}, or set eval=false."
            ) from error
        except ConvsmithError as error:
            raise ConvsmithError(f"the model cannot judge {seen}", f"{error.what}: {error.why}", error.fix) from error
        except RuntimeError as error:  # torch's, of an image that is too small for the model
            raise ConvsmithError(
                f"the model cannot judge {seen}",
                str(error).partition("\n")[0],
                "Remove it if it is much smaller than the others, or choose a larger size in preprocess.",
            ) from error
