"""convsmith embed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convsmith.cli.options import AsJson, BundleDirectory, DeviceName, RuntimeName
from convsmith.errors import ConvsmithError

if TYPE_CHECKING:
    from convsmith.bundle.predictor import Bundle
    from convsmith.bundle.preprocess import ImageSource


def embed(
    bundle: BundleDirectory,
    paths: Annotated[list[str] | None, typer.Argument(help="Images, folders or patterns.")] = None,
    *,
    data: Annotated[
        Path | None, typer.Option(help="Labelled data in place of images: how well its embeddings tell classes apart.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the embeddings: .npz or .parquet.")] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="With --data: let the bundle say how far images are from the training images.")
    ] = False,
    device: DeviceName = "auto",
    runtime: RuntimeName = None,
    as_json: AsJson = False,
) -> None:
    """Write what a model's last layer sees of images, or say how well that tells the classes of data apart.

    Example: convsmith embed runs/photos/bundle holiday/ --out holiday.npz

    Example: convsmith embed runs/photos/bundle --data photos/

    Example: convsmith embed runs/photos/bundle --data photos/ --out photos.parquet

    Example: convsmith embed runs/photos/bundle --data photos/ --fit
    """
    from convsmith.analyze.embed import embedding_bundle
    from convsmith.bundle.format import check_own
    from convsmith.bundle.predictor import load
    from convsmith.jobs.embed import check_file

    if bool(paths) == (data is not None):
        raise ConvsmithError("embed takes images, or --data", fix="Name images and --out, or give --data.")
    if fit and data is None:
        raise ConvsmithError("--fit needs training images", fix="Give --data in place of images.")
    if fit:
        check_own(bundle)
    if out is not None:
        check_file(out)
    elif paths:
        raise ConvsmithError("embeddings of images go into a file", fix="Give --out FILE.npz or --out FILE.parquet.")
    opened = embedding_bundle(load(bundle, None, runtime, device))
    if data is not None:
        _embed_data(opened, data, out, fit=fit, as_json=as_json)
    else:
        assert out is not None
        _embed_images(opened, paths or (), out, as_json=as_json)


def _embed_data(opened: Bundle[Any], data: Path, out: Path | None, *, fit: bool, as_json: bool) -> None:
    """Embed labelled data, and say, write and fit what is asked for."""
    import json

    import numpy as np

    from convsmith.analyze.probe import embed_data, has_one_class_each, probe, require_one_class_each
    from convsmith.cli.progress import progress_bar
    from convsmith.jobs.embed import write_embeddings
    from convsmith.jobs.fit_distance import write_distance

    has_classes = has_one_class_each(opened)
    if not fit and out is None:
        require_one_class_each(opened)
    with progress_bar() as progress:
        train, val = embed_data(opened, data, progress)
    if out is not None:
        columns = {"split": ["train"] * len(train.names) + ["val"] * len(val.names)}
        if has_classes:
            columns["label"] = [opened.labels[it] for it in (*train.targets, *val.targets)]
        write_embeddings(out, (*train.names, *val.names), np.concatenate([train.rows, val.rows]), columns)
    told = probe(train, val) if has_classes else None
    fitted = write_distance(opened, train, val) if fit else None
    if as_json:
        print(json.dumps({**(told.to_dict() if told else {}), **({"distance": fitted.to_dict()} if fitted else {})}))
        return
    for it in (told, fitted):
        if it is not None:
            it.print()


def _embed_images(opened: Bundle[Any], paths: Sequence[str], out: Path, *, as_json: bool) -> None:
    """Write the embeddings of images, as far as they can be read."""
    import json

    import numpy as np
    from numpy.typing import NDArray

    from convsmith.bundle.images.image_error import ImageError
    from convsmith.cli.bad_images import BadImages, note
    from convsmith.data.folders.image_paths import find_images
    from convsmith.jobs.embed import write_embeddings

    bad, names, kept = BadImages(), list[str](), list[tuple[str, NDArray[np.float32]]]()

    def sources() -> Iterator[ImageSource]:
        for name, image in find_images(paths, bad.complain, note):
            names.append(name)
            yield image

    for number, row in enumerate(opened.embed_many(sources())):
        if isinstance(row, ImageError):
            bad.complain(names[number], row.in_a_line)
        else:
            kept.append((names[number], row))
    if not kept:
        raise ConvsmithError("no image has an embedding", fix="Name images that can be read.")
    write_embeddings(out, [name for name, _ in kept], np.stack([row for _, row in kept]))
    written = {"images": len(kept), "length": len(kept[0][1]), "out": str(out)}
    print(json.dumps(written) if as_json else f"{out}: {written['images']} embeddings of {written['length']} numbers")
    bad.end()
