"""Teachers of every origin, as functions of the student's images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convsmith.bundle.format import bundle_folder, read_manifest, read_model
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.errors import ConvsmithError, quoted
from convsmith.models.base import VisionModel
from convsmith.models.registry import backbone_of, create_trained_model, named_weights
from convsmith.models.weights.class_names import fit_head_to_classes, rows_of
from convsmith.models.weights.origin import origin_of
from convsmith.models.weights.published import list_weights
from convsmith.recipe.objective import Teacher
from convsmith.recipe.schema import Recipe
from convsmith.spec import Preprocessing
from convsmith.storage import sha256_of
from convsmith.tasks.base import find_training
from convsmith.tasks.bfloat16 import has_bfloat16
from convsmith.tasks.distillation import TeacherFunction


def load_teacher(recipe: Recipe, device: torch.device, classes: Sequence[str]) -> TeacherFunction:
    """The teacher of a recipe that has one.

    It sees what the student sees, in its own normalisation: that of its published weights or its bundle, else the
    student's. A model computes in bfloat16 where the device does so natively, a bundle on the CPU.

    Args:
        recipe: what to train.
        device: where the images are.
        classes: names of the student's K classes; the teacher's logits are brought into their order.

    Raises:
        ConvsmithError: the teacher cannot be loaded, has other classes, or takes images of another size.
    """
    assert recipe.distillation is not None
    spec = recipe.distillation.teacher
    try:
        if spec.bundle is not None:
            return _bundle(recipe, bundle_folder(Path(spec.bundle)), classes)
        return _model(recipe, spec, device, classes)
    except ConvsmithError as error:
        raise ConvsmithError(f"distillation.teacher cannot teach: {error.what}", error.why, error.fix) from error


def teacher_digest(spec: Teacher) -> str | None:
    """SHA-256 of the teacher's file, or None where its name says enough.

    Raises:
        ConvsmithError: it is a bundle that cannot be read, or holds no ONNX model.
    """
    if spec.bundle is not None:
        folder = bundle_folder(Path(spec.bundle))
        return sha256(read_model(folder, read_manifest(folder))).hexdigest()
    assert spec.weights is not None
    path = _local(spec.weights)
    return sha256_of(path) if path and path.is_file() else None


def _model(recipe: Recipe, spec: Teacher, device: torch.device, classes: Sequence[str]) -> TeacherFunction:
    assert spec.model is not None
    assert spec.weights is not None
    assert recipe.distillation is not None
    weights = named_weights(spec.weights, spec.model)
    channels = {"in_channels": recipe.data.channels} if recipe.data.channels != 3 else {}
    model = _trained(spec.model, weights, {**spec.options, **channels}, len(classes))
    try:
        find_training(recipe.task).check_model(recipe, model)
    except ConvsmithError as error:
        raise ConvsmithError(f"`{spec.model}` is not a model for {recipe.task}", error.why) from error
    fit_head_to_classes(model, weights, classes, trained=True)
    model = model.eval().requires_grad_(False).to(device)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    answer: TeacherFunction = partial(find_training(recipe.task).logits, model)
    if recipe.distillation.kind == "features":
        answer = model.forward_features
    arithmetic: AbstractContextManager[object] = nullcontext()  # what the trainer computes in
    if has_bfloat16(device):
        arithmetic = torch.autocast(device.type, dtype=torch.bfloat16)
    scale, shift = _change_of_normalisation(recipe.preprocess, _normalisation_of(spec.model, weights, recipe), device)

    def teach(images: Tensor) -> Tensor:
        with torch.inference_mode(), arithmetic:
            answers = answer(images * scale + shift)
        return answers.clone()  # what inference mode made cannot take part in a gradient

    return teach


def _trained(name: str, weights: str, options: Mapping[str, Any], num_classes: int) -> VisionModel:
    """A model that learned to tell `num_classes` classes."""
    path = _local(weights)
    if path and path.is_dir():
        raise ConvsmithError(
            f"weights={weights} is a directory",
            "a teacher's weights are a file or a published name",
            f"Of a run, set bundle={weights}, or weights to a file of its checkpoints/best.",
        )
    return create_trained_model(name, num_classes, weights, **options)


def _normalisation_of(model: str, weights: str, recipe: Recipe) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the images that a teacher was trained on."""
    spec = origin_of(weights, backbone_of(model) or model)
    if spec is None or len(spec.mean) != recipe.data.channels:
        return recipe.preprocess.mean, recipe.preprocess.std
    return spec.mean, spec.std


def _local(weights: str) -> Path | None:
    """The path that weights are, None for a published name or another library's own."""
    return None if weights == "pretrained" or weights in list_weights() else Path(weights)


def _bundle(recipe: Recipe, folder: Path, classes: Sequence[str]) -> TeacherFunction:
    manifest = read_manifest(folder)
    if manifest.task != recipe.task:
        raise ConvsmithError(f"{folder} is a bundle for {manifest.task}", f"the student's task is {recipe.task}")
    rows = rows_of(manifest.labels, classes)
    if rows is None:
        alike = len(manifest.labels) == len(classes)
        number = f"{len(manifest.labels)} classes, the student {len(classes)}"
        raise ConvsmithError(
            f"{folder} has {'other classes' if alike else number}",
            f"its classes are {quoted(manifest.labels)}, the student's {quoted(classes)}",
            "Choose a bundle that was trained on the student's classes.",
        )
    if manifest.preprocess.bands != recipe.bands:
        raise ConvsmithError(
            f"{folder} takes images of other channels or another range",
            f"it was trained with {manifest.preprocess.bands}, the student is with {recipe.bands}",
            "Choose a bundle that was trained on the student's images.",
        )
    wanted, given = manifest.only_size, recipe.augment.size
    if wanted not in (None, given):
        taken, trained = ("x".join(map(str, size)) for size in (wanted, given))
        raise ConvsmithError(
            f"{folder} takes images of {taken} pixels, the student is trained on {trained}",
            fix=f"Train on {taken} pixels, or name the teacher by model and weights, which take any size.",
        )
    runtime = OnnxRuntime(read_model(folder, manifest), torch.get_num_threads())
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (recipe.preprocess.mean, recipe.preprocess.std))

    def teach(images: Tensor) -> Tensor:
        pixels = ((images.detach().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return torch.from_numpy(runtime.run(pixels.contiguous().numpy())[:, rows]).to(images.device)

    return teach


def _change_of_normalisation(
    given: Preprocessing, wanted: tuple[Sequence[float], Sequence[float]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Scale and shift, [C, 1, 1] each, that lead from the student's images to those with the mean and std `wanted`."""
    mean, std, to_mean, to_std = (
        torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (given.mean, given.std, *wanted)
    )
    return (std / to_std).float().to(device), ((mean - to_mean) / to_std).float().to(device)
