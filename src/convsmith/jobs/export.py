"""From a run or a bundle to an artefact of another format, proved before it is written."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from convsmith.analyze.prove import image_files, prove
from convsmith.bundle.format import Manifest, holds_run, read_manifest, read_model
from convsmith.bundle.runtime import OnnxRuntime, Runtime
from convsmith.bundle.write import Card, write_bundle
from convsmith.complaints import first_problem
from convsmith.deploy.choose_format import fastest_format
from convsmith.deploy.format import Exportable, Files, export_files, find_format, open_files, require_machine
from convsmith.deploy.formats import AUTO, CANDIDATES
from convsmith.deploy.out import check_out
from convsmith.deploy.parity import images_to_compare
from convsmith.deploy.served_names import folder_name
from convsmith.errors import ConvsmithError, counted
from convsmith.extras import packages_of
from convsmith.machine import available_cores
from convsmith.processor import instructions
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.recipe.schema import Recipe
from convsmith.spec import Size, Window
from convsmith.tables import Tabular
from convsmith.words import metric_name

logger = logging.getLogger(__name__)

_FILES = 8  # that prove what a format does with image files by itself


@dataclass(frozen=True, repr=False)
class Exported(Tabular):
    """A model in another format.

    Attributes:
        format: of the files.
        path: the folder.
        bytes: of the files together.
        made_of: `torch` or `onnx`, the model that it is like.
        parity: how like, as the manifest states it.
        milliseconds: of one image in each format that was tried, where the format was left to that.
    """

    format: str
    path: str
    bytes: int
    made_of: str
    parity: dict[str, Any]
    milliseconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def __getitem__(self, name: str) -> Any:
        """A field by its name."""
        return self.to_dict()[name]

    def records(self) -> list[dict[str, Any]]:
        """One row, with the figures of the proof."""
        figures = {name: value for name, value in self.parity.items() if not isinstance(value, dict)}
        return [{"path": self.path, "format": self.format, "bytes": self.bytes, **figures}]

    def parts(self) -> Iterator[str]:
        """The files, and how like the trained model they are."""
        parity = self.parity
        yield f"{self.path}: {self.format}, {self.bytes / 1e6:.1f} MB, made of the {self.made_of} model"
        if self.milliseconds:
            times = ", ".join(f"{name} {it:.2f}" for name, it in self.milliseconds.items())
            yield f"the fastest here, with {counted(available_cores(), 'core')}: milliseconds of an image are {times}"
        yield (
            f"on {parity['images']} images: logits differ by {parity['max_abs_diff']:.2g} at most, "
            f"{parity['mean_abs_diff']:.2g} on average; the same class for {parity['top1_agreement']:.2%}"
        )
        for key in parity:
            metric = key.removeprefix("trained_")
            if metric != key:
                yield f"{metric_name(metric)} {parity[metric]:.2%}, of the {self.made_of} model {parity[key]:.2%}"


def export(
    place: str | Path,
    file_format: str,
    out: str | Path,
    data: str | Path,
    *,
    opset: int | None = None,
    size: Size | None = None,
    images: int | None = None,
    progress: ProgressCallback = notebook_progress,
) -> Exported:
    """Export a trained model, prove the artefact in its own runtime on real images, and write it.

    Args:
        place: a run directory, whose torch model is exported; or a bundle of the format `onnx`, whose model is.
        file_format: one of `list_formats()`, in any case; `auto` is the faster of `CANDIDATES` on this machine.
        out: the folder to write: a bundle again, of `triton` a repository too, whose model has the folder's name.
        data: the data it was trained on, or another folder that `evaluate` takes, or one that holds only images.
        opset: version of the ONNX operators, 11 to 23; None: 20. Only with a run, and a format that is made of ONNX.
        size: of segmentation: fix the height and width of what the model looks at. Larger images are then looked at
            through windows of that size, smaller ones are padded with black.
        images: how many images prove it; None: 256, or fewer large ones.
        progress: called with how many of them are done, of how many.

    Raises:
        ConvsmithError: the format cannot be made here or of this, or the artefact says something else than the model;
            nothing is written.

    Examples:
        >>> exported = cs.export("runs/photos", "onnx", "exports/onnx", "photos/")
        >>> exported["parity"]["images"]
        12
    """
    place, out, data, file_format = Path(place), Path(out), Path(data), file_format.lower()
    is_auto = file_format == AUTO
    file_format = CANDIDATES[0] if is_auto else file_format
    chosen = find_format(file_format)
    if opset is not None and chosen.needs_model:
        raise ConvsmithError(f"--opset does not go with {file_format}", "it is not made of ONNX", "Leave it out.")
    check_out(out, (place, place / "bundle"), data)
    require_machine(file_format)
    manifest, source, trained = _open(place, opset, size, chosen.embeddings)
    milliseconds: dict[str, float] = {}
    if is_auto:
        progress("try formats", 0, 1)
        file_format, milliseconds = fastest_format(source, manifest.preprocess.bands.channels)
        chosen = find_format(file_format)
    files = _described(export_files(file_format, replace(source, name=folder_name(out))), manifest)
    if images is None:
        images = images_to_compare(manifest.task, source.size)
    artefact = open_files(file_format, files)
    figures = prove(
        trained, artefact, manifest, data, tolerance=chosen.tolerance_for(source), images=images, progress=progress
    )
    made_of = "onnx" if source.model is None else "torch"
    parity = {"made_of": made_of, "instructions": instructions(), **figures}
    if source.model is None:
        parity["source"] = manifest.parity
    if chosen.add:
        files = {**files, **chosen.add(manifest.model_copy(update={"parity": parity}), files)}
    if chosen.prove:
        progress(f"prove {file_format}", 0, 1)
        if figures := chosen.prove(files, manifest, image_files(manifest, data, _FILES)):
            parity[file_format] = figures
    created_with = {**manifest.created_with, **_versions(chosen.extra)}
    write_bundle(out, files, replace(Card.of(manifest), format=file_format, parity=parity, created_with=created_with))
    size_of_all = sum(len(content) for content in files.values())
    return Exported(file_format, str(out), size_of_all, made_of, parity, milliseconds)


def _described(files: Files, manifest: Manifest) -> Files:
    """The same files, those in ONNX with what they are in their metadata."""
    from convsmith.deploy.onnx_description import described

    return {
        name: described(content, manifest.task, manifest.labels, manifest.preprocess, manifest.thresholds)
        if name.endswith(".onnx")
        else content
        for name, content in files.items()
    }


def _open(place: Path, opset: int | None, size: Size | None, embeddings: bool) -> tuple[Manifest, Exportable, Runtime]:
    """The model to export, the manifest that goes with it, and how it answers today.

    Without `embeddings`, those that it gives are left out.
    """
    is_run = holds_run(place)
    directory = place / "bundle" if is_run else place
    manifest = read_manifest(directory)
    if manifest.embeddings and not embeddings:
        logger.warning("such files give logits alone: the embeddings of bundle.embeddings are left out")
        manifest = manifest.model_copy(update={"embeddings": None})
    if manifest.distance is not None:
        logger.warning("distances are left out: fit those of the export too, by `convsmith embed --fit`")
        manifest = manifest.without_distance()
    if size is not None:
        manifest = _with_one_size(manifest, size)
    any_size = manifest.only_size is None
    if not is_run or manifest.recipe.get("quantization_aware"):  # what was trained for INT8 is in the bundle only
        return manifest, *_of_bundle(directory, manifest, any_size, opset, size)

    from convsmith.deploy.onnx_export import OPSET, OPSETS, inference_model
    from convsmith.deploy.torch_runtime import TorchRuntime
    from convsmith.training.checkpoints.checkpoint import best_step_folder
    from convsmith.training.pack import trained_model
    from convsmith.training.run import Run

    if opset not in (None, *OPSETS):
        raise ConvsmithError(
            f"opset {opset} is not one that convsmith writes", fix=f"Choose from {OPSETS[0]} to {OPSETS[-1]}."
        )
    run = Run(place)
    model = inference_model(
        trained_model(run.recipe, best_step_folder(run.checkpoints)), manifest.preprocess, bool(manifest.embeddings)
    )
    source = Exportable(_input_size(manifest), any_size, model, opset=opset or OPSET)
    return manifest, source, TorchRuntime(model)


def _of_bundle(
    directory: Path, manifest: Manifest, any_size: bool, opset: int | None, size: Size | None
) -> tuple[Exportable, Runtime]:
    if opset is not None:
        raise ConvsmithError(
            "--opset goes with a run that was not trained for INT8",
            "the ONNX model of a bundle has its own already",
            "Give the run, such as runs/NAME, or leave --opset out.",
        )
    onnx = read_model(directory, manifest)
    if manifest.format != "onnx":
        raise ConvsmithError(
            f"{directory} is of the format {manifest.format}",
            "an export of it could be proved to be like it, and not like what was trained",
            "Give the run, or the bundle that training wrote, such as runs/NAME/bundle.",
        )
    if manifest.embeddings is None:
        from convsmith.deploy.onnx_outputs import without_embeddings

        onnx = without_embeddings(onnx)
    trained = OnnxRuntime(onnx)
    if size is not None:
        from convsmith.deploy.onnx_export import with_fixed_size

        onnx = with_fixed_size(onnx, size)
    return Exportable(_input_size(manifest), any_size, given=onnx), trained


def _input_size(manifest: Manifest) -> Size:
    """Height and width of what the model typically sees."""
    size = manifest.preprocess.only_size(one_size=True)
    if size is not None:
        return size
    try:
        return Recipe.model_validate_json(json.dumps(manifest.recipe)).input_size
    except ValidationError:  # of another version of convsmith
        return 512, 512


def _with_one_size(manifest: Manifest, size: Size) -> Manifest:
    square = manifest.preprocess.only_size()
    if square is not None:
        raise ConvsmithError("--size is for segmentation", f"a classifier sees squares of {square[0]} pixels")
    if manifest.one_size:
        raise ConvsmithError("the bundle is for one size already", "its sizes are constants", "Give the run instead.")
    try:
        window = Window(size=size)
    except ValidationError as error:
        height, width = size
        raise ConvsmithError(f"--size {height}x{width} is not a size", first_problem(error, Window)) from error
    preprocess = manifest.preprocess.model_copy(update={"window": window})
    return manifest.model_copy(update={"preprocess": preprocess, "one_size": True})


def _versions(extra: str) -> dict[str, str]:
    """Versions of what takes part in an export that needs an extra, as far as it is installed."""
    found = {}
    for package in ("convsmith", "onnxruntime", *packages_of(extra)):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
