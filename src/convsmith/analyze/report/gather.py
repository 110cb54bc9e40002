"""All that a run, a bundle or a ladder knows of itself, as the facts of a report."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from convsmith.analyze.choice import known_choice
from convsmith.analyze.report.facts import Facts
from convsmith.bundle.format import MANIFEST, Manifest, bundle_folder, read_manifest
from convsmith.bundle.task import find_task, judging_metric
from convsmith.deploy.quantization import Quantization
from convsmith.errors import ConvsmithError, counted
from convsmith.machine import available_cores
from convsmith.processor import instructions
from convsmith.recipe.schema import Recipe
from convsmith.storage import beside
from convsmith.training.run import Run
from convsmith.training.validation_file import read_validation

_DIGITS = 16  # of a digest, enough to tell data apart


def facts_of_run(run: Run) -> Facts:
    """The facts of a run directory, whose training may not have come to its end.

    Raises:
        ConvsmithError: its recipe or its bundle cannot be read.
    """
    recipe, plan = run.recipe, run.plan
    manifest = read_manifest(run.bundle) if (run.bundle / MANIFEST).is_file() else None
    choice = known_choice(run.path)
    records = tuple(line for line in run.metrics if line["split"] in ("train", "val"))
    where, title = shlex.quote(str(run.path)), f"{recipe.model.name}: the run {run.path.absolute().name}"
    data = "--data DATA"
    return Facts(
        title=title,
        kind="run",
        description=recipe.description,
        place=str(run.path),
        task=recipe.task,
        metric=recipe.metric,
        about=_about_run(recipe, plan, records, manifest),
        recipe=choice.recipe if choice else None,
        overrides=choice.overrides if choice else (),
        reasons=choice.reasons if choice else (),
        settings=recipe.model_dump(mode="json"),
        plan={key: value for key, value in plan.items() if key not in ("groups", "weight_decay")},
        metrics=records,
        labels=manifest.labels if manifest else (),
        validation=read_validation(run.path, manifest.metrics, len(manifest.labels)) if manifest else None,
        model=_model(manifest),
        int8=_int8(run.bundle),
        environment=environment(),
        seconds={"train": sum(line.get("seconds") or 0.0 for line in records if line["split"] == "train")},
        commands=(
            f"convsmith train {where}/recipe.yaml {data} --out runs/again",
            f"convsmith evaluate {where} {data}",
            f"convsmith report {where} {data}",
        ),
        missing=_missing(where, manifest),
    )


def with_data(facts: Facts, data: Path) -> Facts:
    """The same with where the images are, for what was trained and the commands too."""
    place = str(data.absolute()) if data.exists() else str(data)
    commands = tuple(line.replace("--data DATA", f"--data {shlex.quote(place)}") for line in facts.commands)
    return replace(facts, data=place, about={**facts.about, "data": place}, commands=commands)


def facts_of_bundle(folder: Path) -> Facts:
    """The facts of a bundle, wherever its run is.

    Raises:
        ConvsmithError: it cannot be read.
    """
    folder = bundle_folder(folder)
    manifest = read_manifest(folder)
    recipe, where = dict(manifest.recipe), shlex.quote(str(folder))
    return Facts(
        title=f"{manifest.model.get('name', 'model')}: the bundle {folder.absolute().name}",
        kind="bundle",
        description=str(manifest.recipe.get("description") or ""),
        place=str(folder),
        task=manifest.task,
        metric=judging_metric(find_task(manifest.task), recipe),
        about=_about_bundle(manifest),
        settings=recipe,
        labels=manifest.labels,
        model=_model(manifest),
        int8=_int8(folder),
        environment=environment(),
        commands=(f"convsmith evaluate {where} --data DATA", f"convsmith report {where} --data DATA"),
        missing=_missing(where, manifest),
    )


def environment() -> dict[str, str]:
    """The machine that this is run on."""
    return {
        "system": platform.platform(),
        "Python": platform.python_version(),
        "processor": f"{counted(available_cores(), 'core')}, {instructions()}",
    }


def _about_run(
    recipe: Recipe, plan: Mapping[str, Any], records: Sequence[Mapping[str, Any]], manifest: Manifest | None
) -> dict[str, str]:
    done = max((line["epoch"] for line in records if line["split"] == "train"), default=0)
    parts = (plan.get(key) for key in ("world_size", "per_device_batch", "accumulation"))
    found = {
        "task": recipe.task,
        "model": recipe.model.name + (f", from the weights {recipe.model.weights}" if recipe.model.weights else ""),
        "parameters": _count(plan.get("params")),
        "multiply-adds": f"{plan['gmacs']:.3g} G for an image" if plan.get("gmacs") else "",
        "training images": _count(plan.get("num_samples")),
        "classes": _count(len(manifest.labels)) if manifest else "",
        "batch": f"{plan.get('effective_batch')} images in a step: {' x '.join(map(str, parts))} "
        "(processes, images in a pass, passes)",
        "epochs": f"{done} of {recipe.schedule.epochs}",
        "steps": _count(plan.get("total_steps")),
        "optimizer": f"{recipe.optimizer.name}, learning rate {max(plan.get('lr') or [0.0]):.4g} at most",
        "precision": str(recipe.precision),
        "seed": str(recipe.seed),
        "data digest": (manifest.data_digest or "")[:_DIGITS] if manifest else "",
    }
    return {name: words for name, words in found.items() if words}


def _about_bundle(manifest: Manifest) -> dict[str, str]:
    found = {
        "task": manifest.task,
        "model": str(manifest.model.get("name", "")),
        "parameters": _count(manifest.model.get("params")),
        "format": manifest.format,
        "classes": _count(len(manifest.labels)),
        "data digest": (manifest.data_digest or "")[:_DIGITS],
    }
    return {name: words for name, words in found.items() if words}


def _count(number: object) -> str:
    return f"{number:,}" if isinstance(number, int) else ""


def _model(manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {}
    return {
        "name": manifest.model.get("name"),
        "params": manifest.model.get("params"),
        "weights": manifest.model.get("weights"),
        "format": manifest.format,
        "bytes": sum(record.bytes for record in manifest.files.values()),
        "metrics": dict(manifest.metrics),
        "parity": dict(manifest.parity),
        "preprocess": manifest.preprocess.model_dump(mode="json"),
        "created_with": dict(manifest.created_with),
        "calibration": manifest.calibration and manifest.calibration.model_dump(mode="json"),
    }


def _int8(bundle: Path) -> Quantization | None:
    """The report of the INT8 form that a bundle is, or that stands beside it; None where there is none."""
    for folder in (bundle, beside(bundle, "-int8")):
        try:
            return TypeAdapter(Quantization).validate_python(read_manifest(folder).model.get("quantization"))
        except (ConvsmithError, ValidationError):
            continue
    return None


def _missing(where: str, manifest: Manifest | None) -> tuple[str, ...]:
    if manifest is None:
        return ("The training has not come to its end: there is no bundle yet.",)
    return (
        "More figures and intervals, the worst of all images, where the model looked, reliability, thresholds and "
        f"speed need the images: convsmith report {where} --data DATA",
    )
