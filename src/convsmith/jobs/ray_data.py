"""Answers to the images of a dataset of Ray Data, computed where its blocks are. Needs no torch.

Examples:
    >>> images = ray.data.read_binary_files("photos/val/red", include_paths=True)
    >>> cs.ray.predict("runs/photos", images).count()
    4
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convsmith.bundle.predictor import Bundle, load
from convsmith.errors import ConvsmithError
from convsmith.jobs.prediction_rows import row_format

_ROWS = Path("rows.parquet")  # a name that says which rows are made


def predict(
    bundle: str | Path | Bundle[Any],
    dataset: Any,
    *,
    image: str = "bytes",
    name: str = "path",
    top: int | None = None,
    batch_size: int = 32,
    cores: int = 4,
    runtime: str | None = None,
    device: str = "auto",
    **resources: Any,
) -> Any:
    """A dataset of Ray Data with the rows that `predict_into` writes for the images of another one.

    Nothing runs before the result is read or written, as `cs.ray.predict(bundle, images).write_parquet(out)` does.
    `predict_into` is the one that goes on after a kill.

    Args:
        bundle: the bundle's folder, the run directory that it is in, or one that is loaded; all machines have it by the
            same path.
        dataset: of `ray.data.read_binary_files(..., include_paths=True)`, for instance.
        image: its column of images: bytes of image files, or pixels uint8 [H, W, C].
        name: its column of what images are called, which is the first one of the result.
        top: how many classes of each image are listed; None: one of a classifier, all of a mask.
        batch_size: images of a classifier in one forward pass.
        cores: of each worker, which has the bundle once.
        runtime: as `load` takes it.
        device: likewise.
        resources: further arguments of `map_batches`, such as `concurrency=8` or `num_gpus=1`.

    Raises:
        ConvsmithError: the bundle cannot be used, or the dataset lacks a column.
    """
    model = bundle if isinstance(bundle, Bundle) else load(bundle)
    row_format(_ROWS, model, top, None)  # says before anything is started what cannot be written
    if missing := {image, name} - set(dataset.columns() or ()):
        raise ConvsmithError(f"the dataset has no column `{min(missing)}`", f"it has {', '.join(dataset.columns())}")
    options = (cores, runtime, device)
    return dataset.select_columns([name, image]).map_batches(
        _Answers,
        fn_constructor_args=(model.path.resolve(), model.manifest.checksum, options, (image, name, top)),
        batch_size=batch_size,
        num_cpus=cores,
        **{"concurrency": 1, **resources},
    )


class _Answers:
    """Makes rows of batches of images, in a process of its own.

    Args:
        path: the bundle's folder.
        checksum: that of the bundle.
        options: further arguments of `load`.
        columns: of the images and of their names; and how many classes are listed.
    """

    def __init__(
        self,
        path: Path,
        checksum: str,
        options: tuple[int, str | None, str],
        columns: tuple[str, str, int | None],
    ) -> None:
        self._model: Bundle[Any] = load(path, *options)
        if self._model.manifest.checksum != checksum:
            raise ConvsmithError(f"{path} is another bundle on another machine", "", "Give all machines the same.")
        self._image, self._name, top = columns
        self._format = row_format(_ROWS, self._model, top, self._model.place)

    def __call__(self, batch: Mapping[str, Any]) -> Any:
        """The rows of a batch, as a table of Arrow."""
        from pyarrow import parquet

        names = [str(it) for it in batch[self._name]]
        answers = self._model.predict_many(list(batch[self._image]), batch_size=max(1, len(names)))
        rows = [row for name, answer in zip(names, answers, strict=True) for row in self._format.rows(name, answer)]
        table = parquet.read_table(io.BytesIO(self._format.pack(rows)))
        return table.rename_columns([self._name, *table.column_names[1:]])
