"""The bundle on disk: `bundle.json` says what the model is and how its files must hash. `write.py` writes it."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from convsmith.bundle.calibration import Calibration
from convsmith.bundle.distance import DISTANCE, DistanceFacts, file_size
from convsmith.bundle.reference import Reference
from convsmith.bundle.task import find_task
from convsmith.bundle.tasks import list_tasks
from convsmith.complaints import first_problem
from convsmith.errors import ConvsmithError, upgrade_command
from convsmith.hub import HUB, hub_file, hub_place
from convsmith.spec import Byte, Fraction, Preprocess, Section, Size, WholeImage
from convsmith.storage import seal_holds

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
MODEL = "model.onnx"
PAGE = "index.html"  # of a bundle that answers in a browser
_MAX_MANIFEST_BYTES = 8 * 2**20  # what is parsed of it takes up to 20 times as much memory
_MAX_MODEL_BYTES = 4 * 2**30  # of all files
_DEEPEST = 32  # levels of the manifest
_LONGEST_NAME = 200  # of a file
if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Literal[tuple(list_tasks())]
Colour = tuple[Byte, Byte, Byte]
_NOT_KNOWN = frozenset(("extra_forbidden", "literal_error", "union_tag_invalid"))  # a key or a choice that came later
_PLAIN_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9_-]*/){0,2}[A-Za-z0-9_][A-Za-z0-9_.-]*")  # below model and version


class FileRecord(Section):
    """Digest and size that a file of the bundle must have."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class Manifest(Section):
    """The content of `bundle.json`."""

    format_version: Literal[1] = 1
    task: TaskName
    model: dict[str, Any] = Field(description="Name of the architecture, its options, number of parameters.")
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Name of each class, in order of logits."
    )
    preprocess: Annotated[Preprocess | WholeImage, Field(discriminator="method")]
    colours: tuple[Colour, ...] | None = Field(None, description="RGB of each class in pictures; null: usual ones.")
    thresholds: tuple[Fraction, ...] | None = Field(
        None, description="Of several labels: the probability of each class from which on it is there; null: one half."
    )
    calibration: Calibration | None = Field(None, description="How logits are scaled, sets made and answers unknown.")
    metrics: dict[str, float] = Field(description="What was measured on the validation data.")
    parity: dict[str, Any] = Field(description="How far the ONNX model's outputs are from the trained model's.")
    recipe: dict[str, Any] = Field(description="The resolved recipe it was trained with.")
    data_digest: str | None = Field(description="Names the files it was trained and validated on, if that is known.")
    created_with: dict[str, str] = Field(description="Versions of convsmith and of the packages that made it.")
    format: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")] = Field(
        "onnx", description="What the model's file is, by the name that `convsmith export` gives it."
    )
    one_size: bool = Field(
        False, description="Of segmentation: the model takes images of one size only, that of `preprocess.window`."
    )
    embeddings: Annotated[int, Field(ge=1)] | None = Field(
        None, description="D, the numbers of each image in the model's second output `embeddings`; null: it has none."
    )
    distance: DistanceFacts | None = Field(
        None, description="How far images are from the training images; null: that is not known."
    )
    reference: Reference | None = Field(
        None, description="How validation images look and what is said of them; null: that is not known."
    )
    files: dict[str, FileRecord] = Field(description="Every other file of the bundle.")
    checksum: str = Field(description="SHA-256 over the canonical JSON of all other keys.")

    @property
    def only_size(self) -> Size | None:
        """Height and width of the images that the model takes; None: any."""
        return self.preprocess.only_size(self.one_size)

    def without_distance(self) -> Manifest:
        """The same of a bundle that knows no distances."""
        return self.model_copy(update={"distance": None})

    def without_calibration(self) -> Manifest:
        """The same of a bundle whose logits are as the model gives them."""
        return self.model_copy(update={"calibration": None})

    @model_validator(mode="after")
    def _parts_agree(self) -> Manifest:
        find_task(self.task).check(self.preprocess, len(self.labels))
        if self.one_size and (self.preprocess.only_size() or not self.only_size):
            raise ValueError("a model for one size needs a window of that size")
        if self.colours is not None and len(self.colours) != len(self.labels):
            raise ValueError(f"there are {len(self.colours)} colours for {len(self.labels)} labels")
        if self.thresholds is not None and len(self.thresholds) != len(self.labels):
            raise ValueError(f"there are {len(self.thresholds)} thresholds for {len(self.labels)} labels")
        if self.reference and self.reference.classes and len(self.reference.classes) != len(self.labels):
            raise ValueError(f"the reference counts {len(self.reference.classes)} classes of {len(self.labels)} labels")
        if self.calibration is not None:
            self._check_calibration(self.calibration)
        if self.distance is not None:
            record = self.files.get(DISTANCE)
            if self.embeddings is None or record is None:
                raise ValueError(f"distances need embeddings and the file {DISTANCE}")
            if record.bytes != file_size(self.distance.images, self.embeddings):
                raise ValueError(f"{DISTANCE} does not hold {self.distance.images} rows of {self.embeddings} numbers")
        return self

    def _check_calibration(self, calibration: Calibration) -> None:
        task = find_task(self.task)
        calibration.check(len(self.labels))
        if not task.exclusive and min(calibration.weights) <= 0:
            raise ValueError("a weight that is not above 0 would turn around which of a class's images have it")
        if calibration.sets and not task.says_sets:
            raise ValueError(f"a bundle of {self.task} says no sets")
        if calibration.unknown and not task.says_unknown:
            raise ValueError(f"a bundle of {self.task} says no class that it might not know")

    @field_validator("files")
    @classmethod
    def _names_are_plain(cls, files: dict[str, FileRecord]) -> dict[str, FileRecord]:
        for name in files:
            if not _PLAIN_NAME.fullmatch(name) or len(name) > _LONGEST_NAME or name == MANIFEST:
                raise ValueError(f"{name[:_LONGEST_NAME]!r} is not the plain name of a file in the bundle")
        if not any(name.rpartition("/")[2].startswith("model.") for name in files):
            raise ValueError("no file is the model")
        return files


class DamagedBundle(ConvsmithError):
    """A folder that is not a bundle as it was written."""


def bundle_folder(place: Path) -> Path:
    """The bundle that is meant: on the Hub, inside a run directory, around one of its own files, or `place` itself.

    Raises:
        ConvsmithError: it is `hf:ORG/NAME`, and cannot be had, or holds something else.
    """
    if str(place).startswith(HUB):
        return _fetched(str(place))
    with suppress(OSError):  # which reading the manifest will tell
        if place.is_file() and (place.parent / MANIFEST).is_file():
            return place.parent
        inside = place / "bundle"
        return inside if inside.is_dir() and not (place / MANIFEST).is_file() else place
    return place


def check_own(place: str | Path) -> None:
    """Raise a ConvsmithError if a bundle is meant that may not be changed where it lies: one on the Hub."""
    if str(place).startswith(HUB):
        raise ConvsmithError(
            f"`{place}` is not changed where it lies",
            "what is here of it is a copy in the cache of huggingface_hub",
            "Copy its files into a folder, and give that.",
        )


def _fetched(name: str) -> Path:
    """The folder of a bundle on the Hugging Face Hub, in the cache of huggingface_hub, with all its files."""
    fix = "Where there is a network, the same command brings it. Or give the folder of a bundle."
    statement = hub_file(name, MANIFEST, "the bundle", fix)
    if statement is None:
        raise DamagedBundle(f"`{name}` is not a bundle", f"it holds no {MANIFEST}", "`convsmith push` makes one of it.")
    repository, _ = hub_place(name)
    this = f"{HUB}{repository}@{statement.parent.name}"  # all files are of one commit
    for file in read_statement(statement.parent).files:
        if hub_file(this, file, "the bundle", fix) is None:
            raise _damaged(statement.parent, f"{file} is missing on the Hub")
    return statement.parent


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a bundle, once its format, its checksum and the size of every file are as they should be.

    Raises:
        ConvsmithError: no bundle, a damaged one, or one of a newer format than this convsmith reads.
    """
    manifest = read_statement(directory)
    for name, record in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise _damaged(directory, f"{name} is {'not a regular file' if path.exists() else 'missing'}")
        if path.stat().st_size != record.bytes:
            raise _damaged(directory, f"{name} has {path.stat().st_size} bytes instead of {record.bytes}")
    return manifest


def read_statement(directory: Path) -> Manifest:
    """The manifest of a bundle whose other files may still be missing; raises as `read_manifest` does."""
    text = _read_text(directory)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _damaged(directory, f"{MANIFEST} is not JSON") from error
    if not isinstance(values, dict):
        raise _damaged(directory, f"{MANIFEST} is not a JSON object")
    if _is_deeper(values, _DEEPEST):
        raise _damaged(directory, f"{MANIFEST} is nested more than {_DEEPEST} levels deep")
    _refuse_newer(directory, values)
    if not seal_holds(values):
        raise _damaged(directory, f"{MANIFEST} does not have the checksum that it states")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] in _NOT_KNOWN:  # and its seal holds: no damage did that
                why = f"in {MANIFEST}, this convsmith does not know {'.'.join(map(str, problem['loc']))}"
                raise newer_bundle(directory, f"{why} ({problem['msg']})", values.get("created_with")) from error
        raise _damaged(directory, f"in {MANIFEST}, {first_problem(error, Manifest)}") from error
    if sum(record.bytes for record in manifest.files.values()) > _MAX_MODEL_BYTES:
        raise _damaged(directory, f"its files are larger than {_MAX_MODEL_BYTES // 2**30} GiB")
    return manifest


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether mappings and lists lie in each other more than so many levels deep; without recursion."""
    level = [value]
    for _ in range(levels):
        inside = (it.values() if isinstance(it, dict) else it for it in level if isinstance(it, dict | list))
        level = [it for values in inside for it in values]
    return any(isinstance(it, dict | list) for it in level)


def read_files(directory: Path, manifest: Manifest) -> dict[str, bytes]:
    """The content of every file of the bundle, by name, once each has the SHA-256 that the manifest states."""
    try:
        files = {name: (directory / name).read_bytes() for name in manifest.files}
    except OSError as error:
        raise ConvsmithError(f"cannot read the bundle {directory}", str(error)) from error
    except MemoryError as error:
        raise ConvsmithError(f"cannot read the bundle {directory}", "memory does not suffice for its files") from error
    for name, record in manifest.files.items():  # of the bytes that will run, not of a second reading
        if hashlib.sha256(files[name]).hexdigest() != record.sha256:
            raise _damaged(directory, f"{name} does not have the SHA-256 that {MANIFEST} states")
    return files


def read_model(directory: Path, manifest: Manifest) -> bytes:
    """The bytes of the ONNX model, verified by `read_files`.

    Raises:
        ConvsmithError: the bundle is damaged, or of another format.
    """
    files = read_files(directory, manifest)
    if MODEL not in files:
        raise ConvsmithError(
            f"the bundle {directory} holds no ONNX model",
            f"its format is {manifest.format}",
            "Give the bundle that training wrote, such as runs/NAME/bundle.",
        )
    return files[MODEL]


def holds_run(directory: Path) -> bool:
    """Whether a folder is the directory of a run, which has begun."""
    return (directory / "recipe.yaml").is_file()


def _read_text(directory: Path) -> str:
    path = directory / MANIFEST
    try:
        if path.exists() and not path.is_file():  # a pipe would never end
            raise _damaged(directory, f"{MANIFEST} is not a regular file")
        with path.open("rb") as file:
            content = file.read(_MAX_MANIFEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if holds_run(directory):
            raise ConvsmithError(
                f"the run {directory} has no bundle yet",
                "its training has not come to its end",
                "Give its command again: it goes on, and ends in a bundle.",
            ) from error
        raise DamagedBundle(
            f"{directory} is not a bundle",
            f"it holds no {MANIFEST}",
            "Name the folder that training wrote, such as runs/NAME/bundle.",
        ) from error
    except (OSError, ValueError) as error:
        raise ConvsmithError(f"cannot read the bundle {directory}", str(error)) from error
    if len(content) > _MAX_MANIFEST_BYTES:
        raise _damaged(directory, f"{MANIFEST} is larger than {_MAX_MANIFEST_BYTES // 2**20} MiB")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _damaged(directory, f"{MANIFEST} is not UTF-8 text") from error


def _refuse_newer(directory: Path, values: dict[str, Any]) -> None:
    version = values.get("format_version")
    if type(version) is not int or version < 1:
        raise _damaged(directory, f"{MANIFEST} states no format_version")
    if version > FORMAT_VERSION:
        why = f"its format_version is {version}, and this convsmith reads up to {FORMAT_VERSION}"
        raise newer_bundle(directory, why, values.get("created_with"))


def newer_bundle(directory: Path, why: str, created_with: object) -> ConvsmithError:
    """The error for a bundle that a later convsmith wrote, whose versions `created_with` states."""
    maker = created_with.get("convsmith") if isinstance(created_with, dict) else None
    known = isinstance(maker, str) and re.fullmatch(r"[0-9A-Za-z.+]{1,40}", maker)
    return ConvsmithError(
        f"{directory} is a bundle of a newer convsmith",
        why,
        f"Upgrade{f' to {maker} or newer' if known else ''} with: {upgrade_command(str(maker) if known else '')}",
    )


def _damaged(directory: Path, reason: str) -> DamagedBundle:
    return DamagedBundle(f"the bundle {directory} is damaged", reason, "Copy or export it again.")
