"""One training on disk."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import yaml

from convsmith.errors import ConvsmithError, counted, of_system
from convsmith.recipe.by_step import of_file
from convsmith.recipe.extra_phase import extra_rate
from convsmith.recipe.load import load_recipe, recipe_to_yaml
from convsmith.recipe.plan import Plan
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml
from convsmith.storage import clear_leftovers, write_file
from convsmith.system import lock
from convsmith.tables import Tabular, add_figures, new_table
from convsmith.training.records import read_records
from convsmith.waiting import read_file
from convsmith.words import for_terminal, metric_name

if TYPE_CHECKING:
    from rich.table import Table

_LEARNED = {"loss": "loss", "lr": "learning rate", "images_per_second": "images/s"}


@dataclass(frozen=True, repr=False)
class Run(Tabular):
    """The directory that holds everything about one training.

    Examples:
        >>> run = cs.Run("runs/photos")
        >>> run.recipe.model.name, run.metrics[-1]["split"]
        ('cifar_resnet20', 'val')
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # a text will do as well

    @property
    def recipe(self) -> Recipe:
        """The resolved recipe that the run was started with."""
        path = self.path / "recipe.yaml"
        recipe = load_recipe(path)
        rounding = recipe.quantization_aware
        if rounding is None or "target" in (yaml.safe_load(read_file(path)).get("quantization_aware") or {}):
            return recipe
        # a run from before there were targets was trained with all 8 bits
        return recipe.model_copy(update={"quantization_aware": rounding.model_copy(update={"target": "vnni"})})

    @property
    def plan(self) -> dict[str, Any]:
        """The plan as `Plan.to_dict` gave it."""
        return of_file(json.loads(read_file(self.path / "plan.json")))

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl, in order."""
        return read_records(self.path / "metrics.jsonl")

    def records(self) -> list[dict[str, Any]]:
        """The same as `metrics`."""
        return self.metrics

    def parts(self) -> Iterator[str | Table]:
        """A row for each epoch: what was learned, and how that was judged; and where the bundle is."""
        epochs: dict[int, dict[str, float]] = {}
        for line in self.metrics:
            if line["split"] in ("train", "val"):
                prefix = "val_" if line["split"] == "val" else ""
                figures = {f"{prefix}{name}": value for name, value in line.items() if isinstance(value, float)}
                epochs.setdefault(line["epoch"], {}).update(figures)
        judged = {name: None for figures in epochs.values() for name in figures if name.startswith("val_")}
        table = new_table()
        add_figures(table, "epoch", *_LEARNED.values(), *(f"validation {metric_name(name[4:])}" for name in judged))
        for epoch, figures in epochs.items():
            cells = (figures.get(name) for name in (*_LEARNED, *judged))
            table.add_row(str(epoch), *("" if value is None else f"{value:.4g}" for value in cells))
        yield table
        yield f"run:    {for_terminal(str(self.path))}"
        yield f"bundle: {for_terminal(str(self.bundle)) if self.bundle.exists() else 'not yet'}"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def pictures(self) -> Path:
        """Where pictures for trackers are once the training has ended, as PNG files."""
        return self.path / "pictures"

    @property
    def bundle(self) -> Path:
        """Where the bundle is once the training has ended."""
        return self.path / "bundle"

    @property
    def has_begun(self) -> bool:
        """Whether there is anything to go on with."""
        return self.bundle.exists() or any(self.checkpoints.glob("step-*"))

    def make(self) -> None:
        """Make the directory.

        Raises:
            ConvsmithError: it cannot be written, or something that is not a file stands in place of one of its files.
        """
        with self._refusals_are_told():
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            for path in self.path.iterdir():
                if path.exists() and not (path.is_file() or path.is_dir()):
                    raise ConvsmithError(
                        f"{path} is not a file",
                        "it is a pipe, a socket or a device",
                        "Remove it, or choose another --out.",
                    )

    def set_bundle_aside(self, name: str) -> None:
        """Give the bundle that name in the run directory, where one set aside before goes; nothing without a bundle."""
        if self.bundle.exists():
            shutil.rmtree(self.path / name, ignore_errors=True)
            self.bundle.rename(self.path / name)

    @contextmanager
    def _refusals_are_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = of_system(error, f"the run directory {self.path} cannot be written")
            told.fix = f"{told.fix} Or choose another with --out.".lstrip()
            raise told from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for this process; the lock ends with the process, however it ends.

        The holder is named in the file `.holder`, for `check_holder`.

        Raises:
            ConvsmithError: another process trains into it, or it cannot be written.
        """
        self.make()
        with self._refusals_are_told():
            file = (self.path / ".lock").open("a+")
        with file:
            try:
                # Not shared with loader workers, which outlive a killed trainer by some seconds; but it ends as soon as
                # this process closes the file, however it was opened: so nothing else may open it.
                lock(file.fileno(), of_process=True)
            except OSError as error:
                raise ConvsmithError(
                    f"another process is training into {self.path}",
                    fix="Wait for it to end, or choose another directory with --out.",
                ) from error
            hold(self.path)
            for folder in (self.path, self.checkpoints):
                clear_leftovers(folder)
            yield

    @contextmanager
    def system_errors_are_told(self) -> Iterator[None]:
        """Make a ConvsmithError of what the system refuses in the block; it says whether the run directory is to blame.

        Raises:
            ConvsmithError: for an OSError.
        """
        try:
            yield
        except OSError as error:
            ours = isinstance(error.filename, str | bytes) and self._holds(Path(os.fsdecode(error.filename)))
            if ours and not self.path.is_dir():
                raise _gone(self.path) from error
            told = of_system(error, f"the run directory {self.path} cannot be written" if ours else "")
            told.fix = f"What is there is kept. {told.fix} Then the same command goes on.".replace("  ", " ")
            raise told from error

    def _holds(self, file: Path) -> bool:
        return file.absolute().is_relative_to(self.path.absolute()) or file.resolve().is_relative_to(
            self.path.resolve()
        )

    def check_same(self, recipe: Recipe, plan: Plan) -> None:
        """Raise a ConvsmithError that says what can be done if the directory's run is one of another recipe.

        Other words for the same groups of parameters, such as `head` for `fc.*`, are the same recipe.
        """
        old, new = self.recipe.model_dump(mode="json"), recipe.model_dump(mode="json")
        changed = differences(old, new)
        if not changed:
            return
        if set(changed) <= SAY_GROUPS and self.plan["groups"] == plan.for_file()["groups"]:
            return
        before = " ".join(_words(old, changed))
        epochs, wanted = old["schedule"]["epochs"], new["schedule"]["epochs"]
        only_longer = {"schedule.epochs"} <= set(changed) <= {"schedule.epochs", "schedule.warmup_epochs"}
        if only_longer and self.bundle.exists() and 0 < epochs < wanted:
            more, place = wanted - epochs, shlex.quote(str(self.path))
            raise ConvsmithError(
                f"{self.path} holds a finished run of {counted(epochs, 'epoch')}",
                f"its learning rate has come to its end, so it cannot become one of {wanted}",
                f"For {more} more, in a second cycle from the rate {extra_rate(self.recipe):g}, give {before} as it "
                f"was, and --extend {more}. For a new run of {wanted} from its best weights, add --finetune {place} "
                "and another directory with --out.",
            )
        raise ConvsmithError(
            f"{self.path} holds a {'finished ' * self.bundle.exists()}run of another recipe",
            f"these keys differ: {', '.join(changed)}",
            f"Choose another directory with --out: with --finetune {shlex.quote(str(self.path))} besides, the new run "
            "starts from the best weights of this one, whose schedule cannot be changed any more. "
            + (f"With {before}, as it was, the same command goes on with it." if before else ""),
        )

    def write_down(self, recipe: Recipe, plan: Plan) -> None:
        """Keep what is trained."""
        write_file(self.path / "plan.json", json.dumps(plan.for_file()))
        write_file(self.path / "recipe.yaml", recipe_to_yaml(recipe))


def limit_forward_batch(run_dir: Path, images: int) -> None:
    """Let the run go on with no more images in a forward pass, whichever process finds that more do not fit."""
    run_dir.mkdir(parents=True, exist_ok=True)  # a machine may have none of its own
    write_file(run_dir / "forward_batch_limit", str(images))


def forward_batch_limit(run_dir: Path) -> int | None:
    """The outcome of an earlier look, if there was one."""
    try:
        return int(read_file(run_dir / "forward_batch_limit"))
    except (FileNotFoundError, ValueError):  # a file that a power cut has emptied limits nothing
        return None


def hold(path: Path) -> None:
    """Name this process as the holder of the run directory."""
    write_file(path / ".holder", _this_process())


def check_holder(path: Path) -> None:
    """Raise a ConvsmithError if another process holds the run directory now, or it has gone.

    The first is what a file system allows whose locks do not count on other machines, or end when the network is cut.
    """
    try:
        holder = read_file(path / ".holder").decode()
    except (FileNotFoundError, NotADirectoryError):
        raise _gone(path) from None
    if holder != _this_process():
        raise ConvsmithError(
            f"another process is training into {path} now: {holder}",
            "it began after this one, which writes nothing more",
            "Let one of them end, and choose another directory with --out for the other.",
        )


def _gone(path: Path) -> ConvsmithError:
    return ConvsmithError(
        f"the run directory {path} is not the one that this training began with",
        "it was renamed or removed",
        "Nothing is written there. Put it back under its name, then the same command goes on from its last checkpoint.",
    )


_TOKEN = uuid4().hex  # a process of another machine may have the same number, and even the same host name


def _this_process() -> str:
    return f"process {os.getpid()} of {socket.gethostname()}, {_TOKEN}"


# Keys that a resume may change, because no result depends on them: but for the last bits on whether it is compiled, and
# on `on_error` from a bad file on, where the other choice is to stop.
_FREE = (
    "data.workers", "data.read_timeout", "data.max_bad", "data.on_error", "checkpoint.", "description", "source",
    "data.cache", "on_divergence", "compile", "metrics",
)  # fmt: skip

SAY_GROUPS = frozenset({"optimizer.lr_scales", "optimizer.weight_decays"})
"""Keys all of whose effect is in the plan's groups."""


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The keys of a recipe, joined by dots, in which two differ, but for those that no result depends on."""
    before, after = flat(old), flat(new)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return [key for key in keys if not key.startswith(_FREE)]


def _words(values: dict[str, Any], keys: list[str], most: int = 5) -> list[str]:
    """KEY=VALUE for each of the keys; none if they are too many to be typed, or one of them is not there."""
    found = flat(values)
    if len(keys) > most or not all(key in found for key in keys):
        return []
    return [shlex.quote(f"{key}={write_yaml(found[key])}") for key in keys]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, as in KEY=VALUE on the command line."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
