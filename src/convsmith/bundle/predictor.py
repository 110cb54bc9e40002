"""A bundle in memory: images in, classes or masks out. Needs no torch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from convsmith.bundle.distance import Distances, read_distances
from convsmith.bundle.forking import device_is_lost, no_fork
from convsmith.bundle.format import Manifest, bundle_folder, read_files, read_manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.int8_sums import warn_of_sums_cut_off
from convsmith.bundle.noting import Noting
from convsmith.bundle.open_runtime import open_runtime
from convsmith.bundle.preprocess import ImageSource, is_one_image, name_of, read_and_preprocess
from convsmith.bundle.read_ahead import read_ahead
from convsmith.bundle.runtime import Runtime, no_embeddings, run_with_embeddings
from convsmith.bundle.task import Answer, Said, find_task
from convsmith.complaints import first_problem
from convsmith.devices import Place
from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    A_co = TypeVar("A_co", bound=Answer, default=Answer, covariant=True)
else:
    from typing import TypeVar

    A_co = TypeVar("A_co", covariant=True)
_Input = tuple[NDArray[np.uint8] | ImageError, str]  # of the model, or why there is none; and what errors call it


def load(
    path: str | Path,
    threads: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    *,
    threads_alone: int | None = None,
) -> Bundle[A_co]:
    """Open a bundle, verify all of it and run it once.

    What it answers is known once it is opened: `bundle: Bundle[Classification] = load(...)` tells a type checker,
    which else knows of an answer what all of them have, `to_dict`.

    Args:
        path: the bundle's folder, or the run directory that it is in.
        threads: how many threads inference may use on the CPU; None takes all cores of this process.
        runtime: what runs the model, one of `RUNTIMES`; None takes onnxruntime for ONNX, and OpenVINO in float32 for
            its own format.
        device: what it runs on, one of `DEVICES`, with `:1` for the second of its kind; `auto` takes the strongest that
            the installed packages have. What is not there, or answers otherwise than the CPU, is passed over with a
            line in the log; the bundle's `place` says what it came to.
        threads_alone: how many threads one call may use on the CPU while no other runs, where that is faster; then the
            model is in memory twice. None: `threads`.

    Raises:
        ConvsmithError: not a bundle, a damaged one, one of a newer format, one that needs torch, a model that does not
            fit its manifest, or there is no such runtime or device.

    Examples:
        >>> bundle = cs.load("runs/photos")
        >>> bundle.predict("photos/val/red/0.png").label
        'red'
    """
    directory = bundle_folder(Path(path))
    manifest = read_manifest(directory)
    warn_of_sums_cut_off(directory, manifest)
    files, channels = read_files(directory, manifest), manifest.preprocess.bands.channels
    model, place = open_runtime(
        files,
        manifest.format,
        threads,
        runtime,
        device,
        size=manifest.only_size,
        channels=channels,
        threads_alone=threads_alone,
    )
    opener = (load, (directory.resolve(), threads, runtime, device))
    distances = read_distances(manifest.distance, manifest.embeddings, files)
    return Bundle(directory, manifest, model, opener, place, distances=distances)


_left_behind: list[Runtime] = []  # whose threads are another process's: to let go of one would wait for them for ever

Opener = tuple[Callable[..., "Bundle"], tuple[Hashable, ...]]
"""A function of a module and its arguments, which open a bundle again."""


class Bundle(Generic[A_co]):
    """A verified bundle, ready to predict; safe to use from several threads, and across `os.fork`.

    `A_co` is the type of its answers, by its task: `Classification` or `Segmentation`.

    What is pickled or copied is the way to open it again: a process that gets it loads the folder of that path.

    Attributes:
        path: its folder.
        manifest: what `bundle.json` says.
        labels: name of each class, in the order of the logits.
        task: what kind of answers it gives.
        place: runtime and device; its answers have them in their `meta`. None where whoever made it knows.

    Examples:
        >>> bundle = cs.load("runs/photos")
        >>> bundle.labels
        ('red', 'green', 'blue')
        >>> [answer.label for answer in bundle.predict_many(["photos/val/red/0.png", "photos/val/blue/0.png"])]
        ['red', 'blue']
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        runtime: Runtime,
        opener: Opener | None = None,
        place: Place | None = None,
        *,
        distances: Distances | None = None,
    ) -> None:
        self.path, self.manifest, self.labels = path, manifest, manifest.labels
        self.task, self.place = find_task(manifest.task), place
        self._runtime, self._opener, self._distances = runtime, opener, distances
        size = manifest.only_size or (64, 64)
        black, length = np.zeros((1, manifest.preprocess.bands.channels, *size), np.uint8), manifest.embeddings
        logits, rows = self._outputs(black)
        if rows is not None and rows.shape != (1, length):
            raise ConvsmithError(
                f"the bundle {path} is damaged", f"its model gives {rows.shape} numbers for [1, {length}]"
            )
        if (shape := logits.shape[1:]) != self.task.logits_shape(len(self.labels), size):
            raise ConvsmithError(
                f"the bundle {path} is damaged", f"its model gives {shape} logits for {len(self.labels)} labels"
            )

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits [N, K] of preprocessed images [N, C, crop, crop]; for segmentation [N, K, H, W] of [N, C, H, W]."""
        with self._ready() as runtime:
            return runtime.run(images)

    def logits_and_embeddings(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The `logits` of preprocessed images, and their embeddings [N, D].

        Raises:
            ConvsmithError: the model has no such output.
        """
        with self._ready() as runtime:
            return run_with_embeddings(runtime, images)

    def _outputs(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """The logits of preprocessed images, and their embeddings where the model has them."""
        return self.logits_and_embeddings(images) if self.manifest.embeddings else (self.logits(images), None)

    @contextmanager
    def _ready(self) -> Iterator[Runtime]:
        if device_is_lost() and self.place is not None and self.place.device != "cpu":
            self._open_again()
        with no_fork():
            yield self._runtime

    def _open_again(self) -> None:
        """Run on the CPU: in a process that was forked, no device answers."""
        if self._opener is not None:
            function, arguments = self._opener
            again = function(*arguments)
            _left_behind.append(self._runtime)
            self._runtime, self.place = again._runtime, again.place

    def preprocess(self, image: ImageSource, name: str = "image") -> NDArray[np.uint8]:
        """The model's input [C, crop, crop] from an image of any kind that `predict` takes.

        For segmentation, the image as it is, [C, H, W]: `predict` makes the model's inputs of it.
        """
        return read_and_preprocess(image, self.manifest.preprocess, name)

    def predict(self, image: ImageSource, name: str = "image") -> A_co:
        """Answer one image: a `Classification`, or a `Segmentation`, by the bundle's task.

        Args:
            image: a path, the bytes of an image file, a file open for reading bytes, a Pillow image, or pixels uint8
                [H, W, C], of a model with `preprocess.range` numbers of any type.
            name: what an error calls an image that has no path.

        Raises:
            ImageError: it cannot be read, is too large to be segmented, or the model gives no finite answer.
        """
        return self.predict_preprocessed(self.preprocess(image, name), name)

    def predict_preprocessed(self, image: NDArray[np.uint8], name: str = "image") -> A_co:
        """`predict` of what `preprocess` returned.

        Raises:
            ImageError: it is too large to be segmented, or the model cannot run on it or gives no finite answer.
        """
        (answer,) = self.predict_together([image], [name])
        if isinstance(answer, ImageError):
            raise answer
        return answer

    def predict_together(self, images: Sequence[NDArray[np.uint8]], names: Sequence[str]) -> list[A_co | ImageError]:
        """Answer what `preprocess` returned in one run of the model; an ImageError stands for one without an answer.

        Args:
            images: several where the task has `one_size`.
            names: what errors call them.
        """
        return [answer for answer, _ in self._answers(list(zip(images, names, strict=True)))]

    def predict_with_outputs(
        self, images: NDArray[np.uint8], names: Sequence[str]
    ) -> tuple[list[A_co | ImageError], NDArray[np.float32], NDArray[np.float32] | None]:
        """Answer a batch [N, C, H, W] as `predict_together` does, and give logits and embeddings [N, D] besides.

        It is for a task that has `one_size`; a model without embeddings has None.
        """
        logits, rows = self._outputs(images)
        said = self.task.ask(lambda _: logits, images, names, self.manifest)
        noted = [None] * len(said) if rows is None else rows
        answers = [
            it if isinstance(it, ImageError) else self._answer(it, row) for it, row in zip(said, noted, strict=True)
        ]
        return answers, logits, rows

    def predict_many(self, images: Iterable[ImageSource], batch_size: int = 32) -> Iterator[A_co | ImageError]:
        """Predict images in batches; yields an answer for each, in order, as `predict` does, or an `ImageError`.

        A few threads decode up to two batches ahead while the model runs, so memory does not grow with the number
        of images. Images to segment come one by one, whatever `batch_size` is.

        Raises:
            ConvsmithError: it is one image instead of several.
        """
        return (answer for answer, _ in self.read_and_predict(images, batch_size))

    def read_and_predict(
        self, images: Iterable[ImageSource], batch_size: int = 32
    ) -> Iterator[tuple[A_co | ImageError, NDArray[np.uint8] | ImageError]]:
        """Yield the answers of `predict_many`, and beside each what `preprocess` returned or raised."""
        return (pair for inputs in self._read(images, batch_size, call="predict") for pair in self._answers(inputs))

    def embed(self, image: ImageSource, name: str = "image") -> NDArray[np.float32]:
        """The embedding [D] of an image: what the model's last layer makes logits of.

        An image that is looked at several times, as masks may be, has the mean over all looks and places.

        Args:
            image: as `predict` takes it.
            name: likewise.

        Raises:
            ImageError: as in `predict`.
            ConvsmithError: the bundle was packed without `bundle.embeddings`.
        """
        (found,) = self.embed_many([image], names=[name])
        if isinstance(found, ImageError):
            raise found
        return found

    def embed_many(
        self, images: Iterable[ImageSource], batch_size: int = 32, names: Iterable[str] | None = None
    ) -> Iterator[NDArray[np.float32] | ImageError]:
        """Embed images in batches; yields the embedding [D] of each, in order, or an `ImageError`.

        Args:
            images: as `predict_many` takes them.
            batch_size: likewise.
            names: what errors call images without a path.

        Raises:
            ConvsmithError: as `predict_many`; or the bundle was packed without `bundle.embeddings`.
        """
        if self.manifest.embeddings is None:
            raise no_embeddings()
        return (it for inputs in self._read(images, batch_size, names, call="embed") for it in self._embeddings(inputs))

    def _embeddings(self, inputs: Sequence[_Input]) -> Iterator[NDArray[np.float32] | ImageError]:
        for _, said, row in self._said(inputs, Noting(self.logits_and_embeddings)):
            yield said if isinstance(said, ImageError) or row is None else row

    def _read(
        self, images: Iterable[ImageSource], batch_size: int, names: Iterable[str] | None = None, *, call: str
    ) -> Iterator[list[_Input]]:
        if is_one_image(images) or not isinstance(images, Iterable):
            raise ConvsmithError(
                f"{call}_many takes several images",
                f"this is one {type(images).__name__}",
                f"Pass a list, or one image to `{call}`.",
            )
        usual = (f"images[{number}]" for number in count())
        paired = zip(images, usual, strict=False) if names is None else zip(images, names, strict=True)
        named = ((image, name_of(image, name)) for image, name in paired)
        return read_ahead(self._prepare, named, batch_size if self.task.one_size else 1)

    def _prepare(self, named: tuple[ImageSource, str]) -> _Input:
        try:
            return self.preprocess(*named), named[1]
        except ImageError as error:
            return error, named[1]

    def _answers(self, inputs: Sequence[_Input]) -> Iterator[tuple[A_co | ImageError, NDArray[np.uint8] | ImageError]]:
        noting = None if self._distances is None else Noting(self.logits_and_embeddings)
        for image, said, row in self._said(inputs, noting):
            yield said if isinstance(said, ImageError) else self._answer(said, row), image

    def _said(
        self, inputs: Sequence[_Input], noting: Noting | None
    ) -> Iterator[tuple[NDArray[np.uint8] | ImageError, Said | ImageError, NDArray[np.float32] | None]]:
        """Each input, what the model says of it or why it does not, and its embedding where these are noted."""
        good = [(image, name) for image, name in inputs if not isinstance(image, ImageError)]
        images, names = [image for image, _ in good], [name for _, name in good]
        infer = self.logits if noting is None else noting.infer
        said = iter(self.task.ask(infer, images, names, self.manifest) if good else ())
        rows = iter(() if noting is None else noting.taken(len(good)))
        for image, _ in inputs:
            yield (image, image, None) if isinstance(image, ImageError) else (image, next(said), next(rows, None))

    def _answer(self, said: Said, row: NDArray[np.float32] | None) -> A_co:
        answer = self.task.answer(said, self.manifest)
        if self._distances is not None and row is not None:
            answer.distance = self._distances.of(row)
        answer.meta = asdict(self.place) if self.place else {}
        return cast(A_co, answer)

    def looking(self, **changes: Any) -> Bundle[A_co]:
        """Call `with_preprocess` by its former name; it warns."""
        warnings.warn("Bundle.looking is now Bundle.with_preprocess", DeprecationWarning, stacklevel=2)
        return self.with_preprocess(**changes)

    def with_preprocess(self, **changes: Any) -> Bundle[A_co]:
        """Make a bundle that looks at images otherwise: `scales`, `flip` and the other keys of `preprocess`.

        Raises:
            ConvsmithError: it is not a bundle for segmentation, or there is no such key or value.
        """
        spec = self.manifest.preprocess
        if spec.only_size():
            raise ConvsmithError("a classifier looks at images in one way only", "the bundle's own preprocessing")
        try:
            changed = type(spec).model_validate_json(json.dumps({**spec.model_dump(mode="json"), **changes}))
            self.task.check(changed, len(self.labels))
        except (TypeError, ValueError) as error:
            reason = first_problem(error, type(spec)) if isinstance(error, ValidationError) else str(error)
            raise ConvsmithError("images cannot be looked at so", reason) from error
        manifest = self.manifest.model_copy(update={"preprocess": changed})
        return Bundle(self.path, manifest, self._runtime, self._opener, self.place, distances=self._distances)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._opener is None:
            raise ConvsmithError(f"{self!r} cannot be pickled", "it was not opened from a folder")
        return _opened_again, (self._opener, self.manifest.checksum, self.manifest.preprocess.model_dump_json())

    def __repr__(self) -> str:
        return f"Bundle({str(self.path)!r}, model={self.manifest.model.get('name')!r}, {len(self.labels)} classes)"


@lru_cache(maxsize=2)  # a pool of processes unpickles it for each of its tasks
def _opened_again(opener: Opener, checksum: str, preprocess: str) -> Bundle:
    function, arguments = opener
    bundle = function(*arguments)
    if bundle.manifest.checksum != checksum:
        raise ConvsmithError(f"{bundle.path} holds another bundle", "it was replaced after this one was pickled")
    same = bundle.manifest.preprocess.model_dump_json() == preprocess
    return bundle if same else bundle.with_preprocess(**json.loads(preprocess))
