"""Learning-rate range test: the loss of a training's first steps while the rate grows from step to step.

L. N. Smith 2015, arXiv:1506.01186, section 3.3, in the form of fastai's LRFinder (fastai/callback/schedule.py):
exponential growth, a smoothed loss without the bias of its start, and an end when that is four times its lowest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convsmith.analyze.out_folder import made_out_folder
from convsmith.analyze.plots import write_plot
from convsmith.errors import ConvsmithError, counted
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.load import as_recipe, name_of
from convsmith.recipe.make_plan import base_lr
from convsmith.recipe.schema import Recipe
from convsmith.storage import write_file
from convsmith.tables import Tabular, add_figures, new_table
from convsmith.training.prepare import prepare_training, require_steps, stepper_at_start
from convsmith.training.torch_state import torch_state_kept

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.table import Table

SMOOTHING = 0.9  # fastai's 0.98 trails by half of a hundred steps, so by decades of the rate
DIVERGED = 4.0
MIN_STEPS = 20
_SHOWN = 11  # steps in the printed table


@dataclass(frozen=True, repr=False)
class RangeTest(Tabular):
    """Measurements of a range test; rates are values of `optimizer.lr`.

    Attributes:
        lr: the rate of each step that was taken.
        loss: the loss of each step's batch, before the step.
        smoothed: its exponential average, without the bias of the start.
        diverged: whether the test ended because the loss rose above four times its lowest, or was not finite.
        lowest: the rate where the smoothed loss is lowest.
        steepest: the rate, of those up to there, where it falls fastest by the logarithm of the rate; None where it
            never falls.
        suggestion: a tenth of `lowest`, which is steadier from test to test than `steepest`; None where that is None.
    """

    lr: tuple[float, ...]
    loss: tuple[float, ...]
    smoothed: tuple[float, ...]
    diverged: bool
    lowest: float
    steepest: float | None
    suggestion: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """A row for each step: its rate, loss and smoothed loss."""
        columns = {"lr": self.lr, "loss": self.loss, "smoothed": self.smoothed}
        return [dict(zip(columns, step, strict=True)) for step in zip(*columns.values(), strict=True)]

    def parts(self) -> Iterator[str | Table]:
        """Some of the steps, the suggestion, and what it rests on."""
        table = new_table()
        add_figures(table, "optimizer.lr", "loss", "smoothed")
        for step in sorted({round(i * (len(self.lr) - 1) / (_SHOWN - 1)) for i in range(_SHOWN)}):
            table.add_row(f"{self.lr[step]:.2g}", f"{self.loss[step]:.4f}", f"{self.smoothed[step]:.4f}")
        yield table
        if self.suggestion is None:
            yield "no suggestion: the smoothed loss never falls"
        else:
            yield f"optimizer.lr={self.suggestion:.2g}"
            yield f"  a tenth of {self.lowest:.2g}, where the smoothed loss is lowest"
            yield f"  it falls fastest at {self.steepest:.2g}"
        yield f"  the loss {'diverges at' if self.diverged else 'does not diverge up to'} {self.lr[-1]:.2g}"


@torch_state_kept()
def find_lr(
    recipe: Recipe | str | Path,
    data: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    start: float = 1e-6,
    end: float = 10.0,
    steps: int = 100,
    progress: ProgressCallback = notebook_progress,
) -> RangeTest:
    """Take the first steps of a training with rates from `start` to `end`; nothing of the model is kept.

    All but the rate (and a schedule of the weight decay, which stays at its start) is as in `train`: weights, data,
    augmentation, loss, parameter groups with their factors, precision.

    Args:
        recipe: a recipe, or the name or path of one.
        data: folder of images, see `open_image_folder`.
        out: folder for `lr_find.json`, `lr_find.png` and, where bad files are skipped, `bad_files.txt`; None:
            `lr-find/RECIPE`.
        overrides: changes to the recipe.
        start: `optimizer.lr` of the first step.
        end: of the last one.
        steps: most optimizer steps to take.
        progress: called with how many steps are done, of how many.

    Raises:
        ConvsmithError: recipe, data or a number cannot be used, `out` holds a run, or the loss diverges at once.

    Examples:
        >>> test = cs.lr_find("digits", "photos/", "lr", ["model.num_classes=null"], steps=20)
        >>> len(test.lr) <= 20
        True
    """
    if not (0 < start < end < math.inf and steps >= MIN_STEPS):
        raise ConvsmithError(
            f"no range test of {counted(steps, 'step')} with rates from {start:g} to {end:g}",
            f"it takes at least {MIN_STEPS} steps, and the rates grow from above 0",
        )
    out = Path("lr-find") / name_of(recipe) if out is None else Path(out)
    recipe, folder, plan = prepare_training(as_recipe(recipe, overrides), data)
    require_steps(recipe)
    out = made_out_folder(out, Path(data), "a range test")
    rates = np.geomspace(start, end, steps).tolist()
    factor = base_lr(recipe) / recipe.optimizer.lr
    plan = replace(
        plan,
        lr=tuple(rate * factor for rate in rates),
        weight_decay=None if plan.weight_decay is None else [*plan.weight_decay[:1]] * steps,
        total_steps=max(plan.total_steps, steps),  # all other schedules stay those of the training
    )
    stepper = stepper_at_start(recipe, plan, folder, out)

    def loss_of_step(step: int) -> float:
        loss = float(stepper.advance())
        progress("steps", step + 1, steps)
        return loss

    test = range_test(rates, loss_of_step)
    write_file(out / "lr_find.json", json.dumps(test.to_dict()) + "\n")
    write_plot(out / "lr_find.png", lambda axes: _draw(axes, test))
    return test


def range_test(rates: Sequence[float], loss_of_step: Callable[[int], float]) -> RangeTest:
    """Judge the rates by the losses of steps taken with them, one after another, until the loss diverges.

    Raises:
        ConvsmithError: that is within the first fifth of them.
    """
    losses: list[float] = []
    smoothed: list[float] = []
    average, diverged = 0.0, False
    for step in range(len(rates)):
        loss = loss_of_step(step)
        if not math.isfinite(loss):
            diverged = True
            break
        losses.append(loss)
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING ** (step + 1)))
        if smoothed[-1] > DIVERGED * min(smoothed):
            diverged = True
            break
    if len(losses) <= len(rates) // 5:
        raise ConvsmithError(
            f"the loss diverged in step {len(losses)}, at a learning rate of {rates[max(len(losses) - 1, 0)]:.2g}",
            "too few steps came before it to judge by",
            "Begin lower with --from, or set precision=fp32.",
        )
    first = len(rates) // 10  # an average of few batches goes up and down by itself
    lr = np.array(rates[first : len(losses)])
    curve = np.array(smoothed[first:])
    low = int(curve.argmin())
    slope = np.gradient(curve[: low + 1], np.log(lr[: low + 1])) if low else None
    lowest = float(lr[low])
    return RangeTest(
        lr=tuple(rates[: len(losses)]),
        loss=tuple(losses),
        smoothed=tuple(smoothed),
        diverged=diverged,
        lowest=lowest,
        steepest=None if slope is None else float(lr[slope.argmin()]),
        suggestion=None if slope is None else lowest / 10,
    )


def _draw(axes: Axes, test: RangeTest) -> None:
    axes.plot(test.lr, test.loss, color="0.8", linewidth=1, label="loss of a batch")
    axes.plot(test.lr, test.smoothed, label="smoothed")
    marks = {"lowest": (test.lowest, "--"), "steepest": (test.steepest, ":"), "suggestion": (test.suggestion, "-")}
    for name, (rate, style) in marks.items():
        if rate is not None:
            axes.axvline(rate, color="0.5", linestyle=style, label=f"{name}: {rate:.2g}")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.1 * max(test.smoothed[0], DIVERGED * min(test.smoothed)))  # what diverges may leave the plot
    axes.set_xlabel("optimizer.lr")
    axes.set_ylabel("training loss")
    axes.legend()
