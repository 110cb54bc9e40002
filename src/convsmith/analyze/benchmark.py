"""How long bundles take: decoding, preprocessing and inference, apart and together."""

from __future__ import annotations

import io
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convsmith.bundle.format import Manifest, bundle_folder, read_files, read_manifest
from convsmith.bundle.images.bands import decode
from convsmith.bundle.images.decode import Picture, size_of
from convsmith.bundle.images.read_bytes import read_bytes
from convsmith.bundle.open_runtime import check_place
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.preprocess import as_input
from convsmith.bundle.runtime import Runtime
from convsmith.bundle.task import find_task
from convsmith.data.folders.scan import images_below
from convsmith.deploy.format import open_model, refuse_code
from convsmith.deploy.speed import first_input
from convsmith.devices import RUNTIMES, Place
from convsmith.errors import ConvsmithError, counted, did_you_mean, require_extra
from convsmith.machine import available_cores
from convsmith.progress import ProgressCallback, notebook_progress
from convsmith.tables import Tabular, add_figures, add_names, new_table
from convsmith.words import for_terminal

if TYPE_CHECKING:
    from rich.table import Table

TORCH = "torch"
_PHOTO = (500, 375)  # width and height of a typical photo of ImageNet
_SOURCES = 32  # images that take turns
_FEWEST = 10


@dataclass(frozen=True)
class Timing:
    """Times of one stage of one bundle, in milliseconds of a batch.

    Attributes:
        bundle: its folder.
        format: what its file is.
        runtime: what ran it.
        stage: `decode`, `preprocess`, `inference`, or `all` of them one after another.
        batch: images at a time.
        runs: how often it was measured.
        p50, p90, p99: percentiles.
        images_per_second: at the mean.
        device: what the runtime computed on.
    """

    bundle: str
    format: str
    runtime: str
    stage: str
    batch: int
    runs: int
    p50: float
    p90: float
    p99: float
    images_per_second: float
    device: str = "cpu"

    @property
    def where(self) -> str:
        """The runtime, and its device if that is not the CPU."""
        return self.runtime if self.device == "cpu" else f"{self.runtime} on {self.device}"


@dataclass(frozen=True, repr=False)
class Benchmark(Tabular):
    """Measurements of several bundles on this machine.

    Attributes:
        threads: of each runtime; decoding and preprocessing take one.
        images: where the images came from.
        rows: a row for each bundle, runtime, batch and stage.
        left_out: one line for each runtime that does not take a bundle.
    """

    threads: int
    images: str
    rows: tuple[Timing, ...]
    left_out: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def records(self) -> list[dict[str, Any]]:
        """A row for each bundle, runtime, batch and stage."""
        return [asdict(row) for row in self.rows]

    def parts(self) -> Iterator[str | Table]:
        """A table of the rows, and what they are of."""
        from rich.markup import escape

        table = new_table()
        add_names(table, "bundle", "runtime")
        add_figures(table, "batch")
        add_names(table, "stage")
        add_figures(table, "p50 ms", "p90 ms", "p99 ms", "images/s", "runs")
        for row in self.rows:
            times = (f"{value:.2f}" for value in (row.p50, row.p90, row.p99))
            name = escape(for_terminal(row.bundle))
            speed = f"{row.images_per_second:,.1f}"
            table.add_row(name, row.where, str(row.batch), row.stage, *times, speed, str(row.runs))
        yield table
        yield f"threads: {self.threads} for inference, 1 for decoding and preprocessing; times are of a whole batch"
        yield f"images: {for_terminal(self.images)}"


def benchmark(
    bundles: str | Path | Sequence[str | Path],
    runtimes: Sequence[str] = (),
    batches: Sequence[int] = (1, 8, 32),
    *,
    images: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    seconds: float = 3.0,
    allow_code: bool = False,
    progress: ProgressCallback = notebook_progress,
) -> Benchmark:
    """Measure bundles on this machine, one after another in this process.

    Args:
        bundles: their folders, of any format, or the run directories that they are in; or one of these.
        runtimes: of `RUNTIMES`, and `torch`, which is the architecture in eager mode on the CPU with random weights,
            because a bundle has no torch model and weights do not change how long it takes; empty: each bundle's own.
        batches: images at a time.
        images: a folder of image files, taken in turn; None makes a photo-like JPEG of 500x375 pixels.
        device: what the runtimes run on, as `load` takes it; a row says what it came to.
        threads: of the runtimes on the CPU; None takes all cores of this process.
        seconds: for each row, after a warm-up; at least ten runs.
        allow_code: run bundles that may hold code, such as TorchScript, with the rights of this process.
        progress: called with the bundle and its runtime, and how many of the batch sizes are measured.

    Raises:
        ConvsmithError: a bundle may hold code and that is not allowed, a bundle or an image cannot be used,
            or none of the runtimes takes a bundle.

    Examples:
        >>> speed = cs.benchmark(["runs/photos"], batches=[1], seconds=0.1)
        >>> [row.stage for row in speed.rows]
        ['decode', 'preprocess', 'inference', 'all']
    """
    for name in runtimes:
        if name not in (*RUNTIMES, TORCH):
            raise ConvsmithError(
                f"there is no runtime `{name}`{did_you_mean(name, (*RUNTIMES, TORCH))}",
                fix=f"There are {', '.join((*RUNTIMES, TORCH))}.",
            )
    check_place(None, device)
    places = [bundles] if isinstance(bundles, str | Path) else bundles
    folders = [bundle_folder(Path(place)) for place in places]
    if not (allow_code or runtimes):  # the runtimes that have a name open no code
        for path in folders:
            refuse_code(path, read_manifest(path).format)
    threads = threads or available_cores()
    files = _image_files(Path(images)) if images is not None else [_photo()]
    rows: list[Timing] = []
    left_out: list[str] = []
    for path in folders:
        measured = len(rows)
        for name, bundle in _opened(path, runtimes, threads, device, left_out):
            inputs = _Inputs(files, bundle.manifest)
            for done, batch in enumerate(batches):
                progress(f"{path} in {name}", done, len(batches))
                for stage, call in inputs.stages(bundle, batch).items():
                    taken = _times(call, seconds)
                    p50, p90, p99 = (float(value) for value in np.percentile(taken, (50, 90, 99)))
                    speed = 1000 * batch / float(taken.mean())
                    made, where = bundle.manifest.format, bundle.place.device if bundle.place else "cpu"
                    rows.append(
                        Timing(str(path), made, name, stage, batch, len(taken), p50, p90, p99, speed, device=where)
                    )
        if len(rows) == measured:
            raise ConvsmithError(f"{path} cannot be measured", left_out[-1])
    source = "one made-up photo" if images is None else f"{counted(len(files), 'image')} of {images}"
    return Benchmark(threads, source, tuple(rows), tuple(left_out))


def _opened(
    path: Path, runtimes: Sequence[str], threads: int, device: str, left_out: list[str]
) -> Iterator[tuple[str, Bundle]]:
    """The bundle in each runtime that takes it, one at a time in memory."""
    manifest = read_manifest(path)
    files = read_files(path, manifest)
    for name in runtimes or (manifest.format,):
        try:
            if name == TORCH:
                model, place = _eager(manifest, threads), Place(TORCH, "cpu", TORCH)
            else:
                model, place = open_model(files, manifest, threads, name if runtimes else None, device)
            yield name, Bundle(path, manifest, model, place=place)
        except ConvsmithError as error:
            left_out.append(f"{path} in {name}: {error.what}: {error.why}")


def _eager(manifest: Manifest, threads: int) -> Runtime:
    try:
        from convsmith.deploy.onnx_export import inference_model
        from convsmith.deploy.torch_runtime import TorchRuntime
        from convsmith.models.registry import create_model
        from convsmith.training.torch_state import torch_state_kept
    except ModuleNotFoundError as error:
        raise require_extra(str(error.name), f"the runtime {TORCH}", "export") from error

    with torch_state_kept():
        model = create_model(manifest.model["name"], len(manifest.labels), **manifest.model.get("options", {}))
    return TorchRuntime(inference_model(model, manifest.preprocess), threads)


class _Inputs:
    """The stages on the way from files to logits, each with its input ready."""

    def __init__(self, files: Sequence[bytes], manifest: Manifest) -> None:
        self._manifest = manifest
        pictures = [(content, self._decoded(content)) for content in files]
        if not find_task(manifest.task).one_size:  # only images of one size make a batch
            pictures = [pair for pair in pictures if size_of(pair[1]) == size_of(pictures[0][1])]
        self._files, self._pictures = zip(*pictures, strict=True)
        self._inputs = [self._prepared(picture) for picture in self._pictures]

    def stages(self, bundle: Bundle, batch: int) -> dict[str, Callable[[], object]]:
        numbers = [i % len(self._files) for i in range(batch)]
        inputs = np.stack([self._inputs[i] for i in numbers])
        return {
            "decode": lambda: [self._decoded(self._files[i]) for i in numbers],
            "preprocess": lambda: [self._prepared(self._pictures[i]) for i in numbers],
            "inference": lambda: bundle.logits(inputs),
            "all": lambda: bundle.logits(np.stack([self._prepared(self._decoded(self._files[i])) for i in numbers])),
        }

    def _decoded(self, content: bytes) -> Picture:
        return decode(content, bands=self._manifest.preprocess.bands)

    def _prepared(self, picture: Picture) -> NDArray[np.uint8]:
        return first_input(self._manifest, as_input(picture, self._manifest.preprocess))


def _image_files(folder: Path) -> list[bytes]:
    above, name = folder.absolute().parent, folder.absolute().name
    found = [above / os.fsdecode(path) for path in images_below(above, name, Counter())]
    if not found:
        raise ConvsmithError(f"there are no images in {folder}", fix="Name a folder of images.")
    count = min(_SOURCES, len(found))
    return [read_bytes(found[i * len(found) // count]) for i in range(count)]


def _photo() -> bytes:
    """A JPEG as large and as hard to decode as a photo: smooth shapes with fine grain."""
    random = np.random.default_rng(0)
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize(_PHOTO, Image.Resampling.BICUBIC)
    grain = random.normal(0, 12, (_PHOTO[1], _PHOTO[0], 1))
    content = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def _times(call: Callable[[], object], seconds: float) -> NDArray[np.float64]:
    """Milliseconds of each run, after runs that do not count for a fifth of the time."""
    _run_for(call, seconds / 5, fewest=1)
    return 1000 * np.array(_run_for(call, seconds, _FEWEST))


def _run_for(call: Callable[[], object], seconds: float, fewest: int) -> list[float]:
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while len(taken) < fewest or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken
