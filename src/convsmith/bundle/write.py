"""Writing a bundle: a card says what its manifest will."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from pydantic import ValidationError

from convsmith.bundle.calibration import Calibration
from convsmith.bundle.distance import DistanceFacts
from convsmith.bundle.format import (
    FORMAT_VERSION,
    MANIFEST,
    MODEL,
    Colour,
    FileRecord,
    Manifest,
    TaskName,
    read_manifest,
)
from convsmith.bundle.model_card import CARD, model_card
from convsmith.bundle.reference import Reference
from convsmith.complaints import first_problem
from convsmith.errors import ConvsmithError, remedy
from convsmith.spec import Preprocessing, Section
from convsmith.storage import new_directory, sealed, write_file

# Left out where they say nothing, since an earlier convsmith refuses keys that it lacks.
_LATER = frozenset({"thresholds", "calibration", "embeddings", "distance", "reference"})
_FILE_KEYS = frozenset({"weights", "bundle"})  # of `model` and of `distillation.teacher`


@dataclass(frozen=True, kw_only=True)
class Card:
    """Keys of a bundle's manifest, but for those of its files; they are checked when they are written.

    Attributes:
        task: what the model does.
        model: the architecture's name, options, number of parameters.
        labels: K names in the order of the logits.
        preprocess: how an image becomes the model's input.
        colours: RGB of each of the K classes in pictures; None: usual ones.
        thresholds: of several labels, the probability of each from which on it is there; None: one half.
        calibration: how logits are scaled, and what is decided by the probabilities; None: not at all.
        metrics: what was measured on the validation data.
        parity: how far the model is from the one that was trained.
        recipe: the resolved recipe; of files on the maker's machine the bundle keeps the name.
        data_digest: names the files that the model was trained and validated on.
        created_with: versions, `convsmith` among them.
        format: what the model's files are.
        one_size: a segmentation model takes images of one size only, that of `preprocess.window`.
        embeddings: D, the length of the model's second output; None: it has none.
        distance: what is said of `distance.bin`, which is one of the files; None: there is none.
        reference: how validation images look and what is said of them, or its JSON values; None: that is not known.
    """

    task: TaskName
    model: dict[str, Any]
    labels: Sequence[str]
    preprocess: Preprocessing
    colours: Sequence[Colour] | None = None
    thresholds: Sequence[float] | None = None
    calibration: Calibration | None = None
    metrics: dict[str, float]
    parity: dict[str, Any]
    recipe: dict[str, Any]
    data_digest: str | None = None
    created_with: dict[str, str]
    format: str = "onnx"
    one_size: bool = False
    embeddings: int | None = None
    distance: DistanceFacts | None = None
    reference: Reference | dict[str, Any] | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> Card:
        """Take over what a bundle says; `dataclasses.replace` says what is new of another form of its model."""
        return cls(**{field.name: getattr(manifest, field.name) for field in fields(cls)})


def write_bundle(directory: Path, model: bytes | Mapping[str, bytes], card: Card) -> None:
    """Write a bundle at once, with its model card: `directory` holds all of it or what it held before.

    Args:
        directory: the bundle's folder; replaced if it exists.
        model: an ONNX model that needs no other file, with the input `images`, uint8 [N, 3, crop, crop], and the output
            `logits`, float32 [N, K]; for segmentation [N, 3, H, W] of any size, and [N, K, H, W]; where the card says
            so, the second output `embeddings`, float32 [N, D]. Or the files of another format, by name.
        card: what there is to say of the model.

    Raises:
        ConvsmithError: model and card do not make a bundle, or it cannot be written.
    """
    files = {MODEL: model} if isinstance(model, bytes) else model
    records = {
        name: FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in files.items()
    }
    text, manifest = _stated(directory, card, records)
    shown = model_card(manifest)
    with _errors_of_writing(directory), new_directory(directory) as folder:
        for name, content in {**files, MANIFEST: text.encode(), CARD: shown.encode()}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)


def rewrite_manifest(directory: Path, card: Card, files: Mapping[str, FileRecord]) -> None:
    """Say something else of a bundle at once; its files stay, and its model card follows unless it was edited.

    Args:
        directory: the bundle's folder.
        card: what there is to say.
        files: the records of the other files, as the bundle's manifest has them.

    Raises:
        ConvsmithError: they do not make a bundle, or it cannot be written.
    """
    (text, manifest), shown = _stated(directory, card, files), directory / CARD
    with _errors_of_writing(directory):
        as_written = shown.is_file() and shown.read_bytes() == model_card(read_manifest(directory)).encode()
        write_file(directory / MANIFEST, text)
        if as_written:
            write_file(shown, model_card(manifest))


def _stated(directory: Path, card: Card, files: Mapping[str, FileRecord]) -> tuple[str, Manifest]:
    """The content of `bundle.json`, and what is read back of it."""
    values = {
        "format_version": FORMAT_VERSION,
        **{key: value for key, value in vars(card).items() if value is not None or key not in _LATER},
        "recipe": _without_folders(card.recipe),
        "files": dict(files),
    }
    try:
        # tuples become lists, keys text: as it is read back
        plain = json.loads(json.dumps(values, allow_nan=False, default=_values_of))
        text = json.dumps(sealed(plain), indent=2)
        manifest = Manifest.model_validate_json(text)
    except (TypeError, ValueError) as error:
        reason = first_problem(error, Manifest) if isinstance(error, ValidationError) else str(error)
        raise ConvsmithError(f"cannot write the bundle {directory}", reason) from error
    return f"{text}\n", manifest


def _values_of(section: object) -> dict[str, Any]:
    """The JSON values of a section; a TypeError for anything else, as json raises it."""
    if isinstance(section, Section):
        return section.model_dump(mode="json")
    raise TypeError(f"{type(section).__name__} is not JSON serializable")


@contextmanager
def _errors_of_writing(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConvsmithError(
            f"{directory} cannot be written",
            error.strerror or str(error),
            f"What was there is kept. {remedy(error)}".rstrip(),
        ) from error


def _without_folders(section: dict[str, Any]) -> dict[str, Any]:
    """A recipe whose weights and teachers are names where they were absolute paths: the rest is the maker's."""
    plain = {}
    for key, value in section.items():
        if isinstance(value, dict):
            value = _without_folders(value)
        elif key in _FILE_KEYS and isinstance(value, str) and _is_absolute(value):
            value = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
        plain[key] = value
    return plain


def _is_absolute(path: str) -> bool:
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or path.startswith("~")
