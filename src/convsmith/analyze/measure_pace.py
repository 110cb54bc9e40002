"""How long a training takes on this machine, by some of its steps."""

from __future__ import annotations

import gc
import time
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from convsmith.analyze.profile import at_least
from convsmith.analyze.time_budget import Pace
from convsmith.data.loading.loader import Batch
from convsmith.deploy.parity import images_to_compare
from convsmith.deploy.quantize import IMAGES, most_held_out
from convsmith.recipe.schedules import total_epochs
from convsmith.recipe.schema import Recipe
from convsmith.spec import Size
from convsmith.storage import TEMPORARY
from convsmith.training.checkpoints.writer import CheckpointWriter
from convsmith.training.data_check import check_data
from convsmith.training.evaluation import NotFinite, evaluate
from convsmith.training.log_file import silence
from convsmith.training.observers.console import Console
from convsmith.training.precision import wait_for
from convsmith.training.prepare import prepare_training, require_steps, stepper_at_start
from convsmith.training.rehearsal import needs_rehearsal
from convsmith.training.stepper import Stepper
from convsmith.training.torch_state import torch_state_kept

_WARM_UP, _FEWEST, _MOST = 3, 3, 50  # steps
_TIMING = 20.0  # seconds of the benchmark, and of making INT8 graphs
_PACKING, _PACKING_MODULE = 3.0, 0.04  # seconds of making a bundle, and of each module in it; two cores of a Xeon


@torch_state_kept()
def measure_pace(recipe: Recipe, data: Path, out: Path, patience: float, *, all_stages: bool = False) -> Pace:
    """Look at the data, take the first steps of a training, judge some images and write a checkpoint.

    Nothing of it is kept but the record of the files that were looked at, which the training does not do again.

    Args:
        recipe: of the training.
        data: the images.
        out: the run's directory.
        patience: seconds for steps and for images to judge, each, twice as many for a few steps; one step and one batch
            are measured at least.
        all_stages: leave time to evaluate, quantize and benchmark the bundle, too.

    Raises:
        ConvsmithError: recipe or data cannot be used.
    """
    require_steps(recipe)
    start = time.perf_counter()
    with silence():  # the training has them again
        prepared, dataset, plan = prepare_training(recipe, data)
        stepper = stepper_at_start(prepared, at_least(plan, _WARM_UP + _MOST), dataset, out)
    start = time.perf_counter() - start
    parts, session = stepper.parts, stepper.session
    with closing(Console()) as console, silence():
        session.observers = [console]
        check_data(session)
    step = _step(stepper, patience)
    image = _image(stepper, patience) if prepared.eval else step / plan.effective_batch / 3
    judged = 2 if prepared.ema and prepared.ema.judge == "both" else 1
    packing = _PACKING + _PACKING_MODULE * len(list(parts.model.modules()))
    packing += 2 * image * images_to_compare(prepared.task, prepared.input_size)
    after = _stages(image, prepared.input_size, len(dataset.train), len(dataset.val)) if all_stages else 0.0
    checkpoint = _checkpoint(stepper, out)
    del stepper, parts, session
    gc.collect()
    return Pace(
        step=step,
        steps=plan.steps_per_epoch,
        validation=judged * image * len(dataset.val),
        checkpoint=checkpoint,
        fixed=start + packing * (2 if needs_rehearsal(prepared) else 1) + after,
        usual=prepared.schedule.epochs,
        eval_every=prepared.eval_every,
        extra=total_epochs(prepared.schedule) - prepared.schedule.epochs,
    )


def _step(stepper: Stepper, patience: float) -> float:
    """Seconds of a step, once the first ones are done."""
    begin = time.perf_counter()
    for _ in range(_WARM_UP):
        stepper.advance()
        wait_for(stepper.parts.device)
        if time.perf_counter() - begin > patience:
            break
    start, steps = time.perf_counter(), 0
    while steps < _MOST and (not steps or time.perf_counter() - start < (1 if steps >= _FEWEST else 2) * patience):
        stepper.advance()
        wait_for(stepper.parts.device)
        steps += 1
    return (time.perf_counter() - start) / steps


def _image(stepper: Stepper, patience: float) -> float:
    """Seconds of judging an image."""
    parts, seen = stepper.parts, 0
    start = time.perf_counter()

    def after_batch(batch: Batch) -> None:
        nonlocal seen
        seen += batch.samples

    def stopping() -> bool:
        return time.perf_counter() - start > patience

    with suppress(NotFinite):  # before it has learned anything, a deep model may
        evaluate(parts, parts.model, parts.val, after_batch=after_batch, stopping=stopping)
    return (time.perf_counter() - start) / max(seen, 1)


def _stages(image: float, size: Size, train: int, val: int) -> float:
    """Seconds of the stages after a training, roughly: how many layers stay in float is not known before."""
    calibration = min(IMAGES, train // 2)
    held_out = min(most_held_out(size), train - calibration)
    return _TIMING + image * (5 * calibration + 4 * held_out + 3 * val)


def _checkpoint(stepper: Stepper, out: Path) -> float:
    """Seconds of writing one."""
    start = time.perf_counter()
    with TemporaryDirectory(dir=out, prefix=TEMPORARY) as folder, closing(CheckpointWriter(Path(folder), 1)) as writer:
        writer.save(1, stepper.tensors(), stepper.session.progress.to_dict(), None)
        writer.wait()
    return time.perf_counter() - start
