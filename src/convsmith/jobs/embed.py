"""Embeddings of images, or of data, as a file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.embed import embedding_bundle
from convsmith.analyze.write_rows import import_pyarrow
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.preprocess import ImageSource
from convsmith.data.folders.image_paths import named_images
from convsmith.errors import ConvsmithError, of_system
from convsmith.storage import write_file

KINDS = (".npz", ".parquet")


def embed(
    bundle: str | Path | Bundle[Any], images: ImageSource | Iterable[ImageSource], *, batch_size: int = 32
) -> NDArray[np.float32]:
    """The embeddings of images, float32 [N, D], N of them in their order.

    Args:
        bundle: the bundle's folder, the run that it is in, or one that is loaded. Where its model gives none, they are
            cut out of its ONNX file, which takes the package `onnx`.
        images: one or several, as `predict` takes them.
        batch_size: images of a classifier in one forward pass.

    Raises:
        ConvsmithError: the bundle gives no embeddings, or an image cannot be read.

    Examples:
        >>> cs.embed("runs/photos", ["photos/val/red/0.png", "photos/val/blue/0.png"]).shape
        (2, 3)
    """
    opened = embedding_bundle(bundle if isinstance(bundle, Bundle) else load(bundle))
    rows = []
    for found in opened.embed_many((image for _, image in named_images(images)), batch_size):
        if isinstance(found, ImageError):
            raise found
        rows.append(found)
    return np.stack(rows) if rows else np.empty((0, opened.manifest.embeddings or 0), np.float32)


def check_file(out: Path) -> None:
    """Raise a ConvsmithError for a file of another kind than those that embeddings can be written to here."""
    if out.suffix not in KINDS:
        raise ConvsmithError(
            f"embeddings are not written as {out.suffix or 'a file without an ending'}",
            fix=f"Let --out end in {' or '.join(KINDS)}.",
        )
    if out.suffix == ".parquet":
        import_pyarrow()


def write_embeddings(
    out: Path, names: Sequence[str], rows: NDArray[np.float32], more: Mapping[str, Sequence[Any]] | None = None
) -> None:
    """Write a file that numpy or pandas read: `path`, `embedding` float32 [N, D], and further columns.

    Args:
        out: it ends in .npz or .parquet.
        names: of the images, [N].
        rows: [N, D].
        more: further columns by name, [N] each.

    Raises:
        ConvsmithError: it ends otherwise, cannot be written, or pyarrow is not installed.
    """
    check_file(out)
    content = io.BytesIO()
    columns = {"path": list(names), **(more or {})}
    if out.suffix == ".npz":
        arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
        np.savez(content, embedding=rows, **arrays)
    else:
        pyarrow = import_pyarrow()
        from pyarrow import parquet

        lists = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
        table = pyarrow.table({**columns, "embedding": lists})
        parquet.write_table(table, content)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_file(out, content.getvalue())
    except OSError as error:
        raise of_system(error, f"cannot write {out}") from error
