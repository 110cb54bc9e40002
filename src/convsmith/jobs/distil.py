"""A small model that learns from a trained one: teacher, student and the student in INT8 side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from convsmith.analyze.report.at_end import ReportAtEnd
from convsmith.analyze.same_images import check_same_images
from convsmith.bundle.format import bundle_folder, read_manifest, read_model
from convsmith.complaints import first_problem
from convsmith.data.classes import require_classes
from convsmith.data.open_data import data_of_recipe
from convsmith.deploy.forms import Form, form_of, parts_of, records_of
from convsmith.deploy.labelled import metric_of, open_labelled
from convsmith.deploy.out import check_out
from convsmith.deploy.quantize import quantize_bundle
from convsmith.deploy.speed import BATCH, time_together
from convsmith.deploy.trial import run_all
from convsmith.errors import ConvsmithError
from convsmith.machine import runs_folder
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.load import recipe_of
from convsmith.recipe.schema import Recipe
from convsmith.tables import Tabular
from convsmith.training.run import Run
from convsmith.training.run_weights import weights_of_run
from convsmith.training.train import train

if TYPE_CHECKING:
    from rich.table import Table

# What a student trains with instead of what its teacher did: its kind of network may be another.
_OPTIMIZER = {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 5e-5}
_LR, _LR_BATCH = 0.05, 64  # a learning rate, and the batch that it is for
_HIGHEST_LR = 0.4
_CLIP = 5.0  # norm of the gradients: small networks that see few images at a time begin with hundreds
_INT8 = "bundle-int8"
_DISTILLATION = {"kind": "logits", "alpha": 0.9, "temperature": 4.0}


@dataclass(frozen=True, repr=False)
class Distilled(Tabular):
    """The result of distilling.

    Attributes:
        run: the student's run, whose folder `bundle-int8` is its INT8 form.
        metric: name of the metric.
        images: how many validation images all were judged by.
        chance: see `score_of_chance`.
        threads, batch, size: what speed was measured with; height and width of the images.
        forms: `teacher`, `student` and `student INT8`.
    """

    run: str
    metric: str
    images: int
    chance: float
    threads: int
    batch: int
    size: tuple[int, int]
    forms: dict[str, Form]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """A row for each of the three models."""
        return records_of(self.forms)

    def parts(self) -> Iterator[str | Table]:
        """A table of the three, and where the student is."""
        yield from parts_of(self.forms, self)
        yield f"run:    {self.run}"
        yield f"bundle: {Path(self.run) / _INT8}"


def distil(
    teacher: str | Path,
    student: str,
    data: str | Path,
    out: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    max_drop: float = 0.1,
    progress: ProgressCallback = notebook_progress,
) -> Distilled:
    """Train a student, make its INT8 form, and measure both beside the teacher on the validation images.

    Args:
        teacher: a run, or its bundle.
        student: name of the model that learns.
        data: what the teacher was trained on, or a folder of the same classes.
        out: the student's run directory; a run that it holds is gone on with. None: `runs/STUDENT-distilled`.
        overrides: changes to `student_recipe`, such as `schedule.epochs=30`.
        max_drop: see `quantize_bundle`.
        progress: called with what is done after the training.

    Raises:
        ConvsmithError: the teacher cannot teach, or what `train` and `quantize_bundle` raise.

    Examples:
        >>> changes = ["schedule.epochs=1"]
        >>> taught = cs.distil("runs/photos", "cifar_resnet20", "photos/", "runs/small", changes, max_drop=100)
        >>> list(taught.forms)
        ['teacher', 'student', 'student INT8']
    """
    data, folder = Path(data), bundle_folder(Path(teacher))
    out = runs_folder() / f"{student.replace('/', '-')}-distilled" if out is None else Path(out)
    recipe = student_recipe(Path(teacher), student, overrides)
    manifest = read_manifest(folder)
    models = {"teacher": read_model(folder, manifest)}
    check_out(out / _INT8, (folder,), data)  # before the training, not after it
    require_classes(data, data_of_recipe(recipe, data).classes, manifest.labels)
    run = train(recipe, data, out, observers=[ReportAtEnd(data)])
    int8 = run.path / _INT8
    report = quantize_bundle(run.bundle, data, int8, max_drop=max_drop, progress=progress)
    for name, place in (("student", run.bundle), ("student INT8", int8)):
        models[name] = read_model(place, read_manifest(place))
    _, val = open_labelled(manifest, data)
    taught = run_all(manifest, models["teacher"], val, progress, "teacher on validation images")
    timed = time_together(models, manifest, val, progress)
    metrics = {
        "teacher": taught.metrics,
        "student": report.float_model.metrics,
        "student INT8": report.int8_model.metrics,
    }
    return Distilled(
        run=str(run.path),
        metric=metric_of(manifest),
        images=report.images,
        chance=report.chance,
        threads=timed.threads,
        batch=BATCH,
        size=timed.size,
        forms={name: form_of(models[name], timed.speeds[name], metrics[name]) for name in models},
    )


def student_recipe(teacher: Path, student: str, overrides: Sequence[str] = ()) -> Recipe:
    """How a student learns: on its teacher's images, augmented and preprocessed as for the teacher, as long as it did.

    Plain SGD with clipped gradients from random weights, without mixing, smoothing and dropping, which the teacher's
    logits stand for.

    Args:
        teacher: a run, or a bundle. A run's weights teach wherever the student is trained, a bundle on the CPU.
        student: name of the model.
        overrides: words such as `optimizer.lr=0.2`.

    Raises:
        ConvsmithError: its recipe is not one that this convsmith reads, or a word is wrong, or changes what
            `check_same_images` keeps.
    """
    folder = bundle_folder(teacher)
    manifest = read_manifest(folder)
    try:
        taught = Recipe.model_validate_json(json.dumps(manifest.recipe))
    except ValidationError as error:
        raise ConvsmithError(f"the recipe of {folder} cannot be read", first_problem(error, Recipe)) from error
    own = taught.augment.custom
    if own is not None and not any(word.startswith("augment.custom=") for word in overrides):
        raise ConvsmithError(
            f"the teacher was trained with a function of somebody's, augment.custom={own}",
            f"it is code, which does not run because {folder} says so",
            f"Add augment.custom={own} if you know it, or augment.custom=null.",
        )
    kept = ("task", "seed", "data", "augment", "preprocess", "batch", "sampling", "ema", "eval", "eval_every", "metric")
    values = {key: value for key, value in taught.model_dump(mode="json").items() if key in kept}
    epochs = taught.schedule.epochs
    values |= {
        "description": f"{student}, taught by the {taught.model.name} in {teacher.absolute().name}",
        "source": "convsmith distil",
        "model": {"name": student},
        "optimizer": {**_OPTIMIZER, "lr": min(_HIGHEST_LR, _LR * taught.batch.size / _LR_BATCH)},
        "clip_grad_norm": _CLIP,
        "schedule": {"name": "cosine", "epochs": epochs, "warmup_epochs": min(5, epochs // 10)},
        "distillation": {**_DISTILLATION, "teacher": _teacher(teacher, folder, taught)},
    }
    recipe = recipe_of(values, "the student's recipe", overrides)
    if not (epochs or recipe.schedule.epochs):
        raise ConvsmithError(
            "the student has no number of epochs",
            "it is that of the teacher's recipe, which was not trained here",
            "Add schedule.epochs=100, for instance.",
        )
    check_same_images(recipe, taught)
    return recipe


def _teacher(given: Path, folder: Path, recipe: Recipe) -> dict[str, Any]:
    is_run = folder != given and recipe.quantization_aware is None  # what INT8 training made is in the bundle only
    if not is_run:
        return {"bundle": str(folder.absolute())}
    weights = weights_of_run(Run(given).path, "auto").resolve()
    return {"model": recipe.model.name, "weights": str(weights), "options": recipe.model.options}
