"""A step and the packing of a throw-away copy, so that a training that cannot end well does not begin."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from convsmith.bundle.predictor import load
from convsmith.deploy.parity import Tolerance
from convsmith.errors import ConvsmithError
from convsmith.models.layers import Normalize
from convsmith.models.registry import is_of_another_library
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.spec import Size
from convsmith.training.checkpoints.checkpoint import save_checkpoint, step_folder
from convsmith.training.memory import is_out_of_memory
from convsmith.training.model_plan import build_model
from convsmith.training.pack import trained_model
from convsmith.training.parallel.distributed import broadcast
from convsmith.training.session import Session
from convsmith.training.torch_state import torch_state_kept
from convsmith.training.update.ema import Ema
from convsmith.training.update.tricks import EachEpoch, prepare

logger = logging.getLogger(__name__)

_SIDE = 128  # pixels that are enough where the model takes images of any size
_NO_WRONG_OPERATOR = Tolerance(snr_db=20.0)  # random weights may be sensitive to rounding, but not that much


def needs_rehearsal(recipe: Recipe) -> bool:
    """Whether no test of ours vouches for it that what is trained can be packed, as for our models in float."""
    return is_of_another_library(recipe.model.name) or recipe.quantization_aware is not None


def rehearse(session: Session) -> None:
    """Let a copy of the model learn from two random images, save it as a checkpoint does, pack it and run its bundle.

    The first of several processes does it, while the others wait.

    It has random weights of its own, computes on the CPU, and leaves nothing behind. How far its integers are from its
    floats is not judged, and how exact the exported floats are only roughly: before the training that means little.

    Args:
        session: which training; no image of it is read.

    Raises:
        ConvsmithError: the training would end in an error; it names the key to change.
    """
    problem = broadcast(session.world, _problem(session) if session.world.leads else None)
    if problem is not None:
        raise problem


def _problem(session: Session) -> ConvsmithError | None:
    """The error that the training would end in, if any."""
    start = time.perf_counter()
    logger.info("trying a step of %s and its packing before the training begins", session.recipe.model.name)
    try:
        with torch_state_kept(), TemporaryDirectory() as folder:
            _rehearse(session, Path(folder))
    except Exception as error:
        if is_out_of_memory(error):
            logger.warning("there is too little memory to try the packing before the training")
            return None
        return _cannot_end(session.recipe, error)
    logger.info("it can be packed: tried in %.0f s", time.perf_counter() - start)
    return None


def _rehearse(session: Session, folder: Path) -> None:
    from convsmith.deploy.bundle import make_bundle  # with the exporter, which few trainings need before their end

    recipe, dataset = session.recipe, session.dataset
    _save_after_a_step(recipe, session.plan, folder)
    bundle = folder / "bundle"
    make_bundle(
        bundle,
        trained_model(recipe, step_folder(folder, 1)),
        recipe,
        labels=dataset.classes,
        colours=dataset.colours,
        metrics={},
        images=[_images(1, recipe, recipe.input_size) for _ in range(2)],
        float_tolerance=_NO_WRONG_OPERATOR,
        int8_tolerance=Tolerance(),
    )
    load(bundle, device="cpu")  # which runs it once


def _save_after_a_step(recipe: Recipe, plan: Plan, folder: Path) -> None:
    """Write the checkpoint of a new model after a forward and a backward pass."""
    model = build_model(recipe)
    prepare(model, recipe)
    EachEpoch(model, recipe, plan).begin(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # a tenth of what it has seen may leave a deep network to overflow, and all of it to divide by nearly
            # nothing where two images look alike
            module.momentum = 0.5
    normalize = Normalize(recipe.preprocess.mean, recipe.preprocess.std)
    outputs = model(normalize(_images(2, recipe, recipe.augment.size)))
    torch.autograd.backward([output.mean() for output in ([outputs] if isinstance(outputs, Tensor) else outputs)])
    tensors = {"model": model.state_dict()}
    if recipe.ema:
        tensors["ema"] = Ema(model).model.state_dict()
    save_checkpoint(folder, 1, tensors, {})


def _images(count: int, recipe: Recipe, size: Size) -> Tensor:
    """Noise of the size of the images, or of a smaller one where any size will do."""
    return torch.randint(0, 256, (count, recipe.data.channels, *_size(recipe, size)), dtype=torch.uint8)


def _size(recipe: Recipe, size: Size) -> Size:
    return size if recipe.preprocess.only_size() else (min(size[0], _SIDE), min(size[1], _SIDE))


def _cannot_end(recipe: Recipe, error: Exception) -> ConvsmithError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    why = f"{cause.what}: {cause.why}" if isinstance(cause, ConvsmithError) else str(cause).strip().partition("\n")[0]
    name, why = recipe.model.name, why or type(cause).__name__
    if recipe.quantization_aware is None:
        return ConvsmithError(
            f"model.name={name} could be trained, but not packed into a bundle", why, "Choose another model.name."
        )
    return ConvsmithError(
        f"quantization_aware does not go with model.name={name}: no bundle could be made of it",
        why,
        "Set quantization_aware=null, and make the run's bundle INT8 by `convsmith quantize`; or choose another "
        "model.name.",
    )
