"""Where the time of a training step goes, measured on real steps."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as torch_profile

from convsmith.analyze.out_folder import made_out_folder
from convsmith.analyze.profile_events import DATA, Times, gather_times, module_spans
from convsmith.data.loading.loader import Batch
from convsmith.errors import ConvsmithError, counted
from convsmith.launch.world import World
from convsmith.machine import available_cores, variables_kept
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.load import as_recipe, name_of
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.storage import write_file
from convsmith.tables import Tabular, add_figures, add_names, new_table
from convsmith.training.parts import loader_workers
from convsmith.training.precision import Precision, pick_device, pick_precision, wait_for
from convsmith.training.prepare import prepare_training, require_steps, stepper_at_start
from convsmith.training.torch_state import torch_state_kept

if TYPE_CHECKING:
    from rich.table import Table

PROFILED_STEPS = 3
WARM_UP_STEPS = 3
_SHOWN = 15  # operators, and modules, in the printed tables
_PREFETCHED = 2  # batches that torch's DataLoader lets each worker keep ready

Bound = Literal["data", "host", "device"]


@dataclass(frozen=True)
class TimeShare:
    """One operator or module; times are seconds of a step.

    Attributes:
        name: the operator, or the module's path in the model: `(optimizer)` and `(all else)` are not modules.
        kind: the class of the module; empty for operators.
        seconds: computing, without the operators or modules in it.
        forward: the part of it in the forward pass; for operators all of it.
        share: of all computing, 0 to 1.
        calls: how often in a step.
    """

    name: str
    kind: str
    seconds: float
    forward: float
    share: float
    calls: float


@dataclass(frozen=True, repr=False)
class StepProfile(Tabular):
    """Times of the steps of a training, in seconds of a step.

    Attributes:
        device: `cpu`, `cuda`, `xpu` or `mps`.
        precision: that of the forward pass.
        workers: processes that load data.
        batch: images of a step.
        steps: how many were timed.
        seconds: of a step; the next three add up to it.
        device_seconds: the device computes.
        data_seconds: nothing is computed, since the next images are not there yet.
        host_seconds: the rest: Python, launching of operators, waiting for the device's answers.
        bound: the largest of the three.
        operators: by the time of their own, the slowest first.
        modules: likewise.
    """

    device: str
    precision: Precision
    workers: int
    batch: int
    steps: int
    seconds: float
    device_seconds: float
    data_seconds: float
    host_seconds: float
    bound: Bound
    advice: str
    operators: tuple[TimeShare, ...]
    modules: tuple[TimeShare, ...]

    @property
    def sentence(self) -> str:
        """The bound of the step, in words."""
        what = {
            "data": "Loading of data bounds the step: the training waits for images for",
            "host": "The host bounds the step: Python and the launching of operators take",
            "device": f"The device bounds the step: the {self.device} computes for",
        }
        shares = {
            "device": (self.device_seconds / self.seconds, "computing"),
            "data": (self.data_seconds / self.seconds, "waiting for data"),
            "host": (self.host_seconds / self.seconds, "the host"),
        }
        others = " and ".join(f"{share:.0%} {name}" for key, (share, name) in shares.items() if key != self.bound)
        return f"{what[self.bound]} {shares[self.bound][0]:.0%} of it ({others})."

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {**asdict(self), "sentence": self.sentence, "images_per_second": self.batch / self.seconds}

    def records(self) -> list[dict[str, Any]]:
        """A row for each operator, then for each module; `of` says which it is."""
        both = {"operator": self.operators, "module": self.modules}
        return [{"of": of, **asdict(row)} for of, shares in both.items() for row in shares]

    def parts(self) -> Iterator[str | Table]:
        """Tables of the slowest operators and modules, and what bounds a step."""
        table = new_table()
        add_names(table, "operator")
        add_figures(table, "ms", "share", "calls")
        for row in self.operators[:_SHOWN]:
            table.add_row(row.name, f"{1000 * row.seconds:.2f}", f"{row.share:.1%}", f"{row.calls:.0f}")
        yield table
        table = new_table()
        add_names(table, "module", "kind")
        add_figures(table, "ms", "forward", "backward", "share")
        for row in self.modules[:_SHOWN]:
            times = (row.seconds, row.forward, row.seconds - row.forward)
            table.add_row(row.name, row.kind, *(f"{1000 * it:.2f}" for it in times), f"{row.share:.1%}")
        yield table
        speed = f"{self.batch / self.seconds:,.1f} images/s"
        place = f"{self.device} in {self.precision}, {counted(self.workers, 'loader worker')}"
        yield f"step:  {1000 * self.seconds:.1f} ms for {counted(self.batch, 'image')}, {speed}; {place}"
        yield self.sentence
        yield self.advice


@torch_state_kept()
@variables_kept("KINETO_LOG_LEVEL")
def profile_training(
    recipe: Recipe | str | Path,
    data: str | Path,
    out: str | Path | None = None,
    steps: int = 20,
    progress: ProgressCallback = notebook_progress,
    *,
    overrides: Sequence[str] = (),
) -> StepProfile:
    """Take the first steps of a training, time some of them, and watch three more with torch.profiler.

    Times are those of the steps without the profiler, which slows down the host. The first steps are not counted: they
    choose algorithms, and use up the batches that loader workers had time to prepare.

    Args:
        recipe: a recipe, or the name or path of one.
        data: folder of images, see `open_data`.
        out: folder for `profile.json`, `trace.json`, which chrome://tracing and ui.perfetto.dev show, and, where bad
            files are skipped, `bad_files.txt`; None: `profile/RECIPE`.
        steps: how many to time.
        progress: called with how many steps are done, of how many.
        overrides: changes to the recipe.

    Raises:
        ConvsmithError: recipe, data or number cannot be used, or `out` holds a run.

    Examples:
        >>> spent = cs.profile("digits", "photos/", "profile", steps=2, overrides=["model.num_classes=null"])
        >>> spent.bound in ("device", "data", "host")
        True
    """
    if steps < 1:
        raise ConvsmithError(f"no profile of {steps} steps", "there must be one at least")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it calls a machine without a GPU an error
    out = Path("profile") / name_of(recipe) if out is None else Path(out)
    recipe, dataset, plan = prepare_training(as_recipe(recipe, overrides), data)
    require_steps(recipe)
    out = made_out_folder(out, Path(data), "a profile")
    device = pick_device()
    workers = loader_workers(recipe, device, World())
    warm_up = max(WARM_UP_STEPS, -(-workers * _PREFETCHED // plan.accumulation))
    total = warm_up + steps + PROFILED_STEPS
    stepper = stepper_at_start(recipe, at_least(plan, total), dataset, out)
    stepper.source = batches = _TimedBatches(stepper.batches())
    done = 0

    def take(count: int) -> float:
        """Seconds that so many steps take."""
        nonlocal done
        start = time.perf_counter()
        for _ in range(count):
            stepper.advance()
            done += 1
            progress("steps", done, total)
        wait_for(device)
        return time.perf_counter() - start

    take(warm_up)
    batches.seconds = 0.0
    seconds = take(steps) / steps
    waited = batches.seconds / steps
    on_device = {"cuda": [ProfilerActivity.CUDA], "xpu": [ProfilerActivity.XPU]}.get(device.type, [])
    activities = [ProfilerActivity.CPU, *on_device]
    with module_spans(stepper.parts.model), torch_profile(activities=activities) as profiler:
        take(PROFILED_STEPS)
    times = gather_times(profiler.events(), bool(on_device))
    profiler.export_chrome_trace(str(out / "trace.json"))
    kinds = {path: type(module).__name__ for path, module in stepper.parts.model.named_modules()}
    computing, waiting, host = parts_of_step(seconds, times.seconds / PROFILED_STEPS, waited)
    bound = what_bounds(computing, waiting, host)
    precision = pick_precision(recipe.precision, device)
    result = StepProfile(
        device=device.type,
        precision=precision,
        workers=workers,
        batch=plan.effective_batch,
        steps=steps,
        seconds=seconds,
        device_seconds=computing,
        data_seconds=waiting,
        host_seconds=host,
        bound=bound,
        advice=what_to_try(
            bound, recipe, precision, best=pick_precision("auto", device), workers=workers, cores=available_cores()
        ),
        operators=_rows(times, "operators", {}),
        modules=_rows(times, "modules", kinds),
    )
    write_file(out / "profile.json", json.dumps(result.to_dict()) + "\n")
    return result


def parts_of_step(seconds: float, computed: float, waited: float) -> tuple[float, float, float]:
    """The seconds of a step in which its device computes, in which only data are waited for, and of the host.

    Args:
        seconds: of the step.
        computed: of the device in it, which the profiler may have slowed down.
        waited: for data; on a GPU, a wait while it still computes costs nothing.
    """
    computing = min(computed, seconds)
    waiting = min(waited, seconds - computing)
    return computing, waiting, seconds - computing - waiting


def what_bounds(device: float, data: float, host: float) -> Bound:
    """The largest part of a step."""
    parts: dict[Bound, float] = {"device": device, "data": data, "host": host}
    return max(parts, key=lambda name: parts[name])


def what_to_try(bound: Bound, recipe: Recipe, used: Precision, *, best: Precision, workers: int, cores: int) -> str:
    """The next thing to change.

    Args:
        bound: what bounds the step.
        recipe: that of the training.
        used: its precision.
        best: what `precision=auto` takes on this device.
        workers: loader processes.
        cores: those of this process.
    """
    if bound == "data":
        if workers < cores:
            return (
                f"Try data.workers={min(2 * max(workers, 1), cores)}; then smaller image files, and a lighter augment."
            )
        return "All cores load already: try smaller image files, which decode faster, and a lighter augment."
    if bound == "host":
        return "Try more images in a forward pass: a larger batch.size, or batch.per_device if it is below that."
    if used == "fp32" and best != "fp32":
        return "Try precision=auto."
    if not recipe.channels_last:
        return "Try channels_last=true."
    return "That is as it should be; what is left are smaller images, a smaller model, or more devices."


class _TimedBatches:
    """An iterator of batches that knows how long it was waited for."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        start = time.perf_counter()
        with record_function(DATA):
            batch = next(self._batches)
        self.seconds += time.perf_counter() - start
        return batch


def at_least(plan: Plan, steps: int) -> Plan:
    """Give the plan, made longer if it has fewer steps; what the new ones do is what the last one does."""
    more = steps - plan.total_steps
    if more <= 0:
        return plan
    decay = plan.weight_decay
    return replace(
        plan,
        total_steps=plan.total_steps + more,
        lr=[*plan.lr, *[*plan.lr[-1:]] * more],
        weight_decay=None if decay is None else [*decay, *[*decay[-1:]] * more],
    )


def _rows(times: Times, which: Literal["operators", "modules"], kinds: dict[str, str]) -> tuple[TimeShare, ...]:
    """The slowest first, without those that take no time."""
    named = sorted(getattr(times, which).items(), key=lambda item: -item[1].seconds)
    return tuple(
        TimeShare(
            name or "(the model itself)",
            kinds.get(name, ""),
            it.seconds / PROFILED_STEPS,
            it.forward / PROFILED_STEPS,
            it.seconds / times.seconds if times.seconds else 0.0,
            it.calls / PROFILED_STEPS,
        )
        for name, it in named
        if it.seconds > 0
    )
