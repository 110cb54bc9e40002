"""Several models on the same images: which is better, by how much, how surely, and at what cost. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.analyze.benchmark import benchmark
from convsmith.analyze.compare_images import Gaps, SameImages, judge_same_images, measure_gaps, rows_side_by_side
from convsmith.analyze.compare_recipes import curves_of, recipe_differences, same_but_for_seed
from convsmith.analyze.comparison import Better, Compared, Comparison, Difference
from convsmith.analyze.house_page import check_page, write_page
from convsmith.analyze.report.compare_page import compare_page
from convsmith.analyze.write_rows import check_file, write_rows
from convsmith.bundle.predictor import Bundle
from convsmith.data.parts import Part
from convsmith.deploy.format import open_bundle
from convsmith.deploy.labelled import metric_of
from convsmith.errors import ConvsmithError, quoted
from convsmith.progress import ProgressCallback, notebook_progress

if TYPE_CHECKING:
    pass

_CERTAIN = 0.05
_SECONDS = 0.5  # of each measurement of speed


def compare(
    models: Sequence[str | Path],
    data: str | Path,
    *,
    split: Part | None = None,
    batch_size: int = 32,
    out: str | Path | None = None,
    page: str | Path | None = None,
    device: str = "auto",
    allow_code: bool = False,
    progress: ProgressCallback = notebook_progress,
) -> Comparison:
    """Judge models by the images that all of them may be judged by, and compare each with the first.

    Args:
        models: folders of bundles of any format, or runs; two at least, of one task and with the same classes.
        data: labelled images, as `evaluate` takes them. Where models were trained on these, it is the images that all
            of them held out.
        split: the part of the data, in place of the one for validation.
        batch_size: images of a classifier in one forward pass.
        out: a file for what each model says of each image; see `write_rows`.
        page: a file of HTML, which shows all of it, with the curves of runs over each other.
        device: what the models run on, as `load` takes it.
        allow_code: run bundles that may hold code, with the rights of this process.
        progress: called with how many images are done, of how many.

    Raises:
        ConvsmithError: a bundle or the data cannot be used, the models are not for the same classes, or there is no
            image that all of them can be judged by.

    Examples:
        >>> compared = cs.compare(["runs/photos", "runs/other"], "photos/")
        >>> compared.metric, compared.images, compared.differences[0].better
        ('top1', 12, 'unclear')
    """
    if len(models) < 2:
        raise ConvsmithError("one model cannot be compared", fix="Name two at least.")
    if out is not None:
        check_file(Path(out), Path(data))
    if page is not None:
        check_page(Path(page))
    opened = [open_bundle(Path(path), None, None, device, allow_code=allow_code) for path in models]
    _require_alike(opened)
    images = judge_same_images(opened, Path(data), split, batch_size, progress)
    metric = metric_of(opened[0].manifest)
    recipes = [bundle.manifest.recipe for bundle in opened]
    speeds = [_speed(path, device, allow_code, progress) for path in models]
    described = tuple(
        Compared(
            str(path),
            bundle.manifest.format,
            judged.evaluation.held_out,
            judged.evaluation.figures,
            judged.evaluation.intervals,
            _megabytes(bundle.path),
            *speed,
            curves_of(Path(path)),
        )
        for path, bundle, judged, speed in zip(models, opened, images.judged, speeds, strict=True)
    )
    differences = _differences(images, metric, recipes)
    if out is not None:
        write_rows(Path(out), rows_side_by_side(images), opened[0].labels)
    seeds = tuple(same_but_for_seed(recipes, [model.figures for model in described]))
    notes = [*images.notes]
    if len(differences) > 1:
        needed = _CERTAIN / len(differences)
        notes.append(f"{len(differences)} models are compared with the first, so each needs p below {needed:.3g}")
    made = Comparison(len(images.names), metric, described, differences, seeds, tuple(notes))
    if page is not None:
        write_page(Path(page), compare_page(made))
    return made


def _require_alike(bundles: Sequence[Bundle]) -> None:
    """Raise a ConvsmithError unless all bundles have the task and the classes of the first, in whichever order."""
    first = bundles[0]
    for other in bundles[1:]:
        if other.manifest.task != first.manifest.task:
            raise ConvsmithError(
                f"{other.path} cannot be compared with {first.path}",
                f"one is for {other.manifest.task}, the other for {first.manifest.task}",
            )
        if lacking := set(first.labels) ^ set(other.labels):
            raise ConvsmithError(
                f"{other.path} cannot be compared with {first.path}",
                f"only one of them knows {quoted(sorted(lacking))}: a model of fewer classes has an easier task",
                "Compare models of the same classes.",
            )


def _differences(images: SameImages, metric: str, recipes: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """How each model but the first differs from it."""
    found = [measure_gaps(images, metric, number) for number in range(1, len(recipes))]
    return tuple(
        Difference(
            number,
            _better(apart, metric, len(found)),
            apart.p,
            apart.test,
            apart.gaps,
            apart.better_images,
            apart.worse_images,
            recipe_differences(recipes[0], recipes[number]),
        )
        for number, apart in enumerate(found, 1)
    )


def _better(apart: Gaps, metric: str, comparisons: int) -> Better:
    """Decide by the test, where as many differences are tested at once."""
    if apart.p is None or apart.p >= _CERTAIN / comparisons or metric not in apart.gaps:
        return "unclear"
    return apart.gaps[metric].difference > 0


def _speed(
    path: str | Path, device: str, allow_code: bool, progress: ProgressCallback
) -> tuple[float | None, float | None]:
    """Milliseconds of an image in inference, and in all."""
    measured = benchmark(
        [path], batches=(1,), device=device, seconds=_SECONDS, allow_code=allow_code, progress=progress
    )
    stages = {row.stage: row.p50 for row in measured.rows}
    return stages.get("inference"), stages.get("all")


def _megabytes(bundle: Path) -> float:
    return sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file()) / 1e6
