"""The part of one process in a training, which all functions of the training need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from convsmith.data.dataset import DataSet, num_samples
from convsmith.data.loading.loader import Batch, raise_on_bad
from convsmith.launch.world import World
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.training.bad_files import BadFiles, most_bad
from convsmith.training.observers.base import Observer
from convsmith.training.parallel.distributed import Poll
from convsmith.training.progress import Progress
from convsmith.training.run import Run
from convsmith.training.signals import StopRequest


@dataclass(kw_only=True)
class Session:
    """One training as a process sees it: its recipe, data, directory and progress.

    Attributes:
        recipe: with the number of classes.
        plan: its numbers; another one when passes become smaller. `groups` must be filled.
        dataset: what is learned from.
        run: the directory; only process 0 must have it.
        world: the processes.
        progress: changed as steps are taken; that of a checkpoint after going back to it.
        observers: empty in all processes but the first.
        poll: what all processes agree on.
        bad_files: what is skipped.
    """

    recipe: Recipe
    plan: Plan
    dataset: DataSet
    run: Run
    world: World
    progress: Progress
    observers: Sequence[Observer] = ()
    poll: Poll = field(init=False)
    bad_files: BadFiles = field(init=False)

    def __post_init__(self) -> None:
        self.poll = Poll(self.world, StopRequest())
        images = num_samples(self.dataset)
        self.bad_files = BadFiles(
            self.run.path / "bad_files.txt",
            self.dataset.root,
            images,
            most_bad(self.recipe.data, images),
            writes=self.world.leads,
        )

    def tell(self, phase: str, done: int, total: int) -> None:
        """Report to the observers how much of a phase is done."""
        for observer in self.observers:
            observer.progress(phase, done, total)

    def record_bad_files(self, batch: Batch) -> None:
        """Raise a ConvsmithError for them if the recipe says so, else remember them."""
        if batch.bad and self.recipe.data.on_error == "error":
            raise_on_bad(batch)
        self.bad_files.add(batch.bad, self.progress.bad_files)

    def write_down(self) -> None:
        """Keep what is trained in the run directory."""
        self.run.write_down(self.recipe, self.plan)
