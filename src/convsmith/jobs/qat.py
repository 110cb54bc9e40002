"""INT8 by quantization-aware training: a run goes on with rounding, and both of its forms are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convsmith.analyze.report.at_end import ReportAtEnd
from convsmith.analyze.same_images import check_same_images
from convsmith.bundle.format import holds_run, read_manifest, read_model
from convsmith.bundle.write import Card, write_bundle
from convsmith.data.classes import require_classes
from convsmith.data.open_data import data_of_recipe
from convsmith.deploy.labelled import open_labelled
from convsmith.deploy.out import check_out
from convsmith.deploy.quantization import Quantization
from convsmith.deploy.quantize import measure, read_float
from convsmith.deploy.static_int8 import FloatLayer
from convsmith.errors import ConvsmithError
from convsmith.processor import Target
from convsmith.progress import ProgressCallback, no_progress
from convsmith.recipe.load import recipe_of
from convsmith.recipe.schema import Recipe
from convsmith.storage import beside
from convsmith.training.run import Run
from convsmith.training.run_weights import weights_of_run
from convsmith.training.train import train

_EPOCHS = 10  # the run had so many times as many,
_LR = 0.01  # and this is the share of its learning rate: it has learned all but the rounding


def quantize_by_training(
    bundle: str | Path,
    data: str | Path,
    out: str | Path,
    overrides: Sequence[str] = (),
    *,
    target: Target | None = None,
    speed: bool = False,
    progress: ProgressCallback = no_progress,
) -> Quantization:
    """Train a run's model on with rounding, make an INT8 bundle of it, and measure that beside the float one.

    Args:
        bundle: the bundle in the directory of a run.
        data: what it was trained on, or a folder of the same classes and layout.
        out: the new bundle's folder; an older bundle there is replaced. `OUT-run` beside it is the training, which is
            gone on with if it is there.
        overrides: changes to `int8_recipe`, such as `schedule.epochs=5`.
        target: the processors that it is for; None: any x86.
        speed: also measure how fast both are here.
        progress: called with what is done after the training.

    Raises:
        ConvsmithError: there is no run around the bundle, it is INT8 already, data or overrides do not go with it, or
            what `train` raises.
    """
    bundle, data, out = Path(bundle), Path(data), Path(out)
    check_out(out, (bundle,), data)  # before the training, not after it
    float_manifest, content = read_float(bundle)
    recipe = int8_recipe(bundle, overrides, target)
    require_classes(data, data_of_recipe(recipe, data).classes, float_manifest.labels)
    run = train(recipe, data, beside(out, "-run"), observers=[ReportAtEnd(data)])
    manifest = read_manifest(run.bundle)
    model = read_model(run.bundle, manifest)
    _, val = open_labelled(manifest, data)
    made = manifest.model["quantization"]
    why = "what it reads or gives is not rounded in training"
    report = replace(
        measure("qat", manifest, content, model, val, target=made.get("target"), speed=speed, progress=progress),
        float_layers=tuple(FloatLayer(name, why) for name in made["float_layers"]),
        seed=recipe.seed,
        run=str(run.path),
    )
    told = {**manifest.model, "quantization": {**report.to_dict(), "run": run.path.name}}
    write_bundle(out, model, replace(Card.of(manifest), model=told, metrics=report.int8_model.metrics))
    return report


def int8_recipe(bundle: Path, overrides: Sequence[str] = (), target: Target | None = None) -> Recipe:
    """How the model of a run's bundle is trained for INT8: by the run's recipe, but shortly, slowly and with rounding.

    It starts from the weights that the bundle holds, and takes a tenth of the epochs at a hundredth of the learning
    rate, which falls as a cosine. What is for a long training, or from other weights, is left out: warm-up, an extra
    phase, averaging, freezing, early stopping, a teacher; and mixing, if the run ended without it.

    Args:
        bundle: the bundle in the directory of a run.
        overrides: words such as `optimizer.lr=0.001`.
        target: the processors that it is for; None: any x86.

    Raises:
        ConvsmithError: it is not in a run that has its checkpoints, or a word is wrong, or takes out the rounding or
            what `check_same_images` keeps.
    """
    run = Run(bundle.absolute().parent)
    if run.bundle != bundle.absolute() or not holds_run(run.path) or not run.checkpoints.is_dir():
        raise ConvsmithError(
            f"{bundle} cannot be trained for INT8",
            "a training starts from a run's recipe and checkpoints, and the bundle is not in the directory of a run",
            "Give the run, such as runs/NAME; or use the method static, which takes any bundle; or train with "
            "`convsmith train RECIPE --data DIR --finetune WEIGHTS quantization_aware={}`.",
        )
    taught = run.recipe
    values = taught.model_dump(mode="json")
    values |= {
        "description": f"{taught.model.name} of {run.path.name}, trained for INT8",
        "source": "convsmith quantize",
        "quantization_aware": {"target": target or "any-x86"},
        "schedule": {"name": "cosine", "epochs": max(1, taught.schedule.epochs // _EPOCHS)},
        "eval_every": 1,
        "compile": "auto",  # as this and the next two keys may be with rounding
    }
    values["model"] |= {"gradient_checkpointing": False, "sync_batch_norm": False}
    values["model"] |= {"weights": str(weights_of_run(run.path, "auto").resolve()), "weights_key": "auto"}
    values["optimizer"]["lr"] = _LR * taught.optimizer.lr
    for section in ("distillation", "freeze", "ema", "early_stopping"):
        values[section] = None
    if taught.mixing and taught.mixing.off_epochs:
        values["mixing"] = None
    recipe = recipe_of(values, "the recipe for INT8", overrides)
    check_same_images(recipe, taught)
    if recipe.quantization_aware is None:
        raise ConvsmithError("quantization_aware must not be null", "a training without rounding gives a float bundle")
    return recipe
