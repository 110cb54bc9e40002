"""Answers to the images of a dataset of Ray Data, computed where its blocks are. Needs no torch.

Examples:
    >>> images = ray.data.read_binary_files("photos/val/red", include_paths=True)
    >>> cs.ray.predict("runs/photos", images).count()
    4
    >>> cs.ray.predict_into("runs/photos", images, "answers")
    Predicted(images=4, bad=0)
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from convsmith.bundle.predictor import Bundle, load
from convsmith.errors import ConvsmithError, printable
from convsmith.jobs.answer_folder import add_rows, answer_folder, keep, lacking, look
from convsmith.jobs.answered import facts_of
from convsmith.jobs.predict_into import Predicted
from convsmith.jobs.prediction_rows import row_format
from convsmith.jobs.ray_workers import cores_of_smallest

_ROWS = Path("rows.parquet")  # a name that says which rows are made
_IMAGES = 1024  # of a file at most, which is what a kill costs each worker
_VERSION = 1
_CORES = 4  # of a worker


def predict(
    bundle: str | Path | Bundle[Any],
    dataset: Any,
    *,
    image: str = "bytes",
    name: str = "path",
    top: int | None = None,
    batch_size: int = 32,
    cores: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    **resources: Any,
) -> Any:
    """A dataset of Ray Data with the rows that `cs.predict_into` writes for the images of another one.

    Nothing runs before the result is read or written, as `cs.ray.predict(bundle, images).write_parquet(out)` does.
    `cs.ray.predict_into` is the one that goes on after a kill.

    Args:
        bundle: the bundle's folder, the run directory that it is in, or one that is loaded; all machines have it by the
            same path.
        dataset: of `ray.data.read_binary_files(..., include_paths=True)`, for instance.
        image: its column of images: bytes of image files, or pixels uint8 [H, W, C].
        name: its column of what images are called, which is the first one of the result.
        top: how many classes of each image are listed; None: one of a classifier, all of a mask.
        batch_size: images of a classifier in one forward pass.
        cores: of each worker, which has the bundle once; None: four, or where a machine has no more than that, all but
            one, which reads images.
        runtime: as `load` takes it.
        device: likewise.
        resources: further arguments of `map_batches`, such as `concurrency=8` or `num_gpus=1`.

    Raises:
        ConvsmithError: the bundle cannot be used, or the dataset lacks a column.
    """
    asked = _Asked(image, name, top, batch_size, cores, runtime, device)
    model = _check(bundle, dataset, asked)
    return _mapped(dataset, _Answers, model, asked, batch_size=batch_size, resources=resources)


def predict_into(
    bundle: str | Path | Bundle[Any],
    dataset: Any,
    out: str | Path,
    *,
    image: str = "bytes",
    name: str = "path",
    top: int | None = None,
    batch_size: int = 32,
    cores: int | None = None,
    runtime: str | None = None,
    device: str = "auto",
    **resources: Any,
) -> Predicted:
    """Write the rows that `predict` gives into a folder of Parquet files, which a call that is made again goes on with.

    However the call, a worker or a machine was ended, even by SIGKILL: each image has its rows once. Images that have
    them are read by Ray, but not answered again; those that are new in the dataset are. The order of rows is Ray's. The
    last bits of float scores may depend on which images run together, as they do in any batch. All arguments besides
    `out` are those of `predict`; no two images have one name.

    Args:
        out: the folder, on a disk that all machines share: `ray.data.read_parquet(out)` reads it.

    Returns:
        How many images have rows in the folder.

    Raises:
        ConvsmithError: as of `predict`; or two images have one name, the folder holds something else, was begun with
            another bundle or option, cannot be written, or another process writes it.
    """
    import ray

    asked = _Asked(image, name, top, batch_size, cores, runtime, device)
    model = _check(bundle, dataset, asked)
    folder = Path(out).absolute()
    facts = {
        "version": _VERSION,
        **facts_of(model, top, batch_size),
        "name": name,
        "runtime": runtime,
        "device": device,
    }
    with answer_folder(folder, facts, name) as held:
        left_out = [ray.put(held.names)]
        rest = dataset.map_batches(_without, fn_args=(left_out, name), batch_format="pyarrow", zero_copy_batch=True)
        files = {path.name for path in folder.glob("*.parquet")}
        written = _mapped(rest, _Writes, model, asked, folder, batch_size=_IMAGES, resources=resources)
        rows = written.take_all()
        for twice in (row["twice"] for row in rows if row["twice"]):
            raise _twice(twice)
        keep(folder, files | {row["file"] for row in rows})
        held = look(folder, name)
        if held.doubles:
            raise _twice(f"{held.doubles[0]} and another file")
        return Predicted(len(held.names), held.bad)


class _Asked(NamedTuple):
    """A question to `predict`: columns of the dataset, classes of an image, and arguments of `load`."""

    image: str
    name: str
    top: int | None
    batch_size: int
    cores: int | None
    runtime: str | None
    device: str


def _check(bundle: str | Path | Bundle[Any], dataset: Any, asked: _Asked) -> Bundle[Any]:
    """The loaded bundle; says before anything is started what cannot be written or read."""
    model = bundle if isinstance(bundle, Bundle) else load(bundle)
    row_format(_ROWS, model, asked.top, None)
    if missing := {asked.image, asked.name} - set(dataset.columns() or ()):
        raise ConvsmithError(f"the dataset has no column `{min(missing)}`", f"it has {', '.join(dataset.columns())}")
    return model


def _mapped(
    dataset: Any, worker: type, model: Bundle[Any], asked: _Asked, *more: Any, batch_size: int, resources: Any
) -> Any:
    """Answers of workers, which have the bundle each, to batches of a dataset; they are given the question and more."""
    asked = asked._replace(cores=asked.cores or max(1, min(_CORES, cores_of_smallest() - 1)))
    return dataset.select_columns([asked.name, asked.image]).map_batches(
        worker,
        fn_constructor_args=(model.path.resolve(), model.manifest.checksum, asked, *more),
        batch_size=batch_size,
        num_cpus=asked.cores,
        **{"concurrency": 1, **resources},
    )


class _Answers:
    """Makes rows of batches of images, in a process of its own.

    Args:
        path: the bundle's folder.
        checksum: that of the bundle.
        asked: what is wanted.
    """

    def __init__(self, path: Path, checksum: str, asked: _Asked) -> None:
        self._model: Bundle[Any] = load(path, asked.cores, asked.runtime, asked.device)
        if self._model.manifest.checksum != checksum:
            raise ConvsmithError(f"{path} is another bundle on another machine", "", "Give all machines the same.")
        self._asked = asked
        self._format = row_format(_ROWS, self._model, asked.top, self._model.place)

    def __call__(self, batch: Mapping[str, Any]) -> Any:
        """The rows of a batch, as a table of Arrow."""
        from pyarrow import parquet

        names = [str(it) for it in batch[self._asked.name]]
        answers = self._model.predict_many(list(batch[self._asked.image]), self._asked.batch_size)
        rows = [row for name, answer in zip(names, answers, strict=True) for row in self._format.rows(name, answer)]
        table = parquet.read_table(io.BytesIO(self._format.pack(rows)))
        return table.rename_columns([self._asked.name, *table.column_names[1:]])


class _Writes(_Answers):
    """Writes the rows of batches of images into a folder, and says into which files."""

    def __init__(self, path: Path, checksum: str, asked: _Asked, folder: Path) -> None:
        super().__init__(path, checksum, asked)
        self._folder = folder

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        """The name of the file, or that of two images: Ray would hide an error. None for a batch without an image."""
        from pyarrow import parquet

        names = _called(batch[self._asked.name])
        if not names:
            return {"file": [], "twice": []}
        name, number = Counter(names).most_common(1)[0]
        if number > 1:
            return {"file": [""], "twice": [name]}
        content = io.BytesIO()
        parquet.write_table(super().__call__(batch), content)
        return {"file": [add_rows(self._folder, names, content.getvalue())], "twice": [""]}


def _without(table: Any, held: list[Any], name: str) -> Any:
    """The images of a block that are not among those of a reference to digests."""
    import pyarrow as pa
    import ray

    return table.filter(pa.array(lacking(_called(table[name].to_pylist()), ray.get(held[0]))))


def _called(names: Iterable[object]) -> list[str]:
    """Names as they are in rows."""
    return [printable(str(it)) for it in names]


def _twice(name: str) -> ConvsmithError:
    return ConvsmithError(
        f"two images have one name: {name}", "whoever goes on tells images by it", "Give name= a column that differs."
    )
