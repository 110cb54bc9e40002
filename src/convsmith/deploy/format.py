"""Formats that a trained model can be exported to: a file of `formats/` each, with a `FORMAT`; none else lists it.

Its name is that of the file, with `-` for `_`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.bundle.distance import read_distances
from convsmith.bundle.format import Manifest, bundle_folder, newer_bundle, read_files, read_manifest
from convsmith.bundle.int8_sums import warn_of_sums_cut_off
from convsmith.bundle.open_runtime import check_place, open_runtime, takes
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import Runtime
from convsmith.deploy.formats import list_formats
from convsmith.deploy.parity import FLOAT32, INT8, ONE_LEVEL, Tolerance
from convsmith.devices import Place
from convsmith.errors import ConvsmithError, did_you_mean, require_extra
from convsmith.spec import Size

if TYPE_CHECKING:  # evaluate runs where torch is not installed
    from torch import nn

logger = logging.getLogger(__name__)

Files = Mapping[str, bytes]
"""Content by name."""


@dataclass(frozen=True)
class Exportable:
    """A model to export: one of torch, or an ONNX model where there is no other.

    Attributes:
        model: maps images, uint8 [N, 3, H, W], to float32 logits, as `inference_model` makes it; None: see `given`.
        given: an ONNX model that does.
        size: height and width of the images.
        any_size: they may have any other size too.
        opset: version of the ONNX operators that the torch model becomes.
        name: what a server calls it.
    """

    size: Size
    any_size: bool
    model: nn.Module | None = None
    given: bytes = b""
    opset: int = 0
    name: str = "model"

    @cached_property
    def onnx(self) -> bytes:
        """The ONNX model."""
        if self.model is None:
            return self.given
        from convsmith.deploy.onnx_export import export_onnx

        return export_onnx(self.model, self.size, self.any_size, self.opset)

    @property
    def trained(self) -> nn.Module:
        """The torch model, of a format that `needs_model`."""
        assert self.model is not None
        return self.model

    def require_one_size(self, format_name: str) -> None:
        """Raise a ConvsmithError if the images may have any size."""
        if self.any_size:
            raise ConvsmithError(
                f"{format_name} takes images of one size", "this model takes any", "Say which with --size."
            )


@dataclass(frozen=True)
class Format:
    """One kind of artefact.

    Attributes:
        summary: what it is good for, one line.
        export: makes the files, of which one begins with `model.`.
        open: the runtime that they are proved in, with so many threads per call.
        extra: what brings the packages that it needs.
        tolerance: how far it may be from what it is made of.
        other_ties: its runtime may round a value in the middle between two levels to the other one than onnxruntime.
        needs_model: it is made of the torch model, so the ONNX file does not do.
        is_code: its file is, or may hold, instructions that run with the rights of the process.
        require: raises a ConvsmithError where this machine lacks what it needs; asked before any work.
        add: makes what else belongs to the artefact of its manifest and its files, once these are proved.
        prove: proves all of the files together on the bytes of real image files; gives figures for the manifest.
        device: what its runtime computes on, as `--device` calls it.
        embeddings: it keeps a second output.
    """

    summary: str
    export: Callable[[Exportable], Files]
    open: Callable[[Files, int | None], Runtime]
    extra: str = "export"
    tolerance: Tolerance = FLOAT32
    other_ties: bool = False
    needs_model: bool = False
    is_code: bool = False
    require: Callable[[], None] | None = None
    add: Callable[[Manifest, Files], Files] | None = None
    prove: Callable[[Files, Manifest, Iterable[bytes]], dict[str, Any]] | None = None
    device: str = "cpu"
    embeddings: bool = True

    def tolerance_for(self, source: Exportable) -> Tolerance:
        """`tolerance`, or a level where the source rounds while it runs, and ties are rounded otherwise here."""
        if not self.other_ties or source.model is not None:
            return self.tolerance
        import onnx

        from convsmith.deploy.graph import roundings

        return (self.tolerance, ONE_LEVEL, INT8)[min(roundings(onnx.load_from_string(source.onnx)), 2)]


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        ConvsmithError: there is none.
    """
    if name not in list_formats():
        raise ConvsmithError(
            f"there is no format `{name}`{did_you_mean(name, list_formats())}",
            fix=f"There are {', '.join(list_formats())}.",
        )
    found: Format = import_module(f"convsmith.deploy.formats.{name.replace('-', '_')}").FORMAT
    return found


def require_machine(name: str) -> None:
    """Raise a ConvsmithError where this machine lacks what the format needs, as far as it says so before any work."""
    chosen = find_format(name)
    try:
        if chosen.require:
            chosen.require()
    except ModuleNotFoundError as error:
        raise _missing(name, chosen, error) from error


def export_files(name: str, source: Exportable) -> Files:
    """The artefact's files.

    Raises:
        ConvsmithError: a package is not installed, the torch model is needed, or the format does not take the model.
    """
    chosen = find_format(name)
    if chosen.needs_model and source.model is None:
        raise ConvsmithError(
            f"{name} is made of the torch model",
            "a bundle, and a run that was trained for INT8, have but an ONNX file, whose weights are folded together",
            "Give the run directory instead of the bundle; what was trained for INT8 exports only to what is made of "
            "ONNX, such as onnx and triton.",
        )
    try:
        return chosen.export(source)
    except ModuleNotFoundError as error:
        raise _missing(name, chosen, error) from error
    except ConvsmithError:
        raise
    except Exception as error:  # a converter's own, of which there are as many kinds as converters
        fix = "`convsmith --debug export` shows all that it says."
        raise ConvsmithError(f"{name} cannot be made of this model", _first_line(error), fix) from error


def open_files(name: str, files: Files, threads: int | None = None) -> Runtime:
    """The artefact in its own runtime.

    Raises:
        ConvsmithError: a package is not installed, or the runtime cannot load the files.
    """
    chosen = find_format(name)
    try:
        return chosen.open(files, threads)
    except ModuleNotFoundError as error:
        raise _missing(name, chosen, error) from error
    except ConvsmithError:
        raise
    except Exception as error:  # a runtime's own, likewise
        raise ConvsmithError(f"the {name} file cannot be loaded", _first_line(error)) from error


def refuse_code(path: Path, file_format: str) -> None:
    """Raise a ConvsmithError if a bundle's format `is_code`: loading it would run that code."""
    if find_format(file_format).is_code:
        raise ConvsmithError(
            f"{path} may hold code",
            f"a {file_format} file runs with your rights",
            "If you trust whoever made it, say so with --allow-code, in Python with allow_code=True.",
        )


def open_model(
    files: Files, manifest: Manifest, threads: int | None = None, runtime: str | None = None, device: str = "auto"
) -> tuple[Runtime, Place]:
    """The model of a bundle of any format, and where it runs.

    Args:
        files: content by name.
        manifest: says what they are.
        threads: of one call on the CPU.
        runtime: one of `RUNTIMES`; None: that of the format.
        device: one of `DEVICES`; a format that has one device only stays there, with a line in the log.

    Raises:
        ConvsmithError: as `open_runtime` and `open_files` do.
    """
    name = manifest.format
    if runtime is not None or takes(name):
        channels = manifest.preprocess.bands.channels
        return open_runtime(files, name, threads, runtime, device, size=manifest.only_size, channels=channels)
    place = Place(name, find_format(name).device, name)
    if check_place(None, device) not in ("auto", place.device):
        logger.warning("the device %s is not used: a %s file runs on %s", device, name, place.device)
    return open_files(name, files, threads), place


def open_bundle(
    path: Path,
    threads: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    *,
    allow_code: bool = False,
) -> Bundle:
    """A bundle of any format, or that of a run directory, verified as `load` does.

    Raises:
        ConvsmithError: as `load` and `open_files` do, or its format `is_code` and that is not allowed.
    """
    path = bundle_folder(path)
    manifest = read_manifest(path)
    if runtime is None and manifest.format not in list_formats():
        raise newer_bundle(path, f"its format is `{manifest.format}`, not known here", manifest.created_with)
    if not allow_code and runtime is None:
        refuse_code(path, manifest.format)
    warn_of_sums_cut_off(path, manifest)
    files = read_files(path, manifest)
    model, place = open_model(files, manifest, threads, runtime, device)
    opener = (_open_again, (path.resolve(), threads, runtime, device, allow_code))
    distances = read_distances(manifest.distance, manifest.embeddings, files)
    return Bundle(path, manifest, model, opener, place, distances=distances)


def _open_again(path: Path, threads: int | None, runtime: str | None, device: str, allow_code: bool) -> Bundle:
    return open_bundle(path, threads, runtime, device, allow_code=allow_code)


def _missing(name: str, chosen: Format, error: ModuleNotFoundError) -> ConvsmithError:
    return require_extra(str(error.name).partition(".")[0], f"the format {name}", chosen.extra)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
