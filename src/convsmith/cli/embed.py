"""convsmith embed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from convsmith.cli.options import AsJson, BundleDirectory, DeviceName, RuntimeName
from convsmith.errors import ConvsmithError
from convsmith.words import for_terminal


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
    import json
    import sys

    import numpy as np
    from numpy.typing import NDArray

    from convsmith.analyze.embed import embedding_bundle
    from convsmith.analyze.probe import embed_data, has_one_class_each, probe, require_one_class_each
    from convsmith.bundle.format import check_own
    from convsmith.bundle.images.image_error import ImageError
    from convsmith.bundle.predictor import load
    from convsmith.cli.progress import progress_bar
    from convsmith.data.folders.image_paths import find_images
    from convsmith.jobs.embed import check_file, write_embeddings
    from convsmith.jobs.fit_distance import write_distance

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
        has_classes = has_one_class_each(opened)
        if not fit and out is None:
            require_one_class_each(opened)
        with progress_bar() as progress:
            train, val = embed_data(opened, data, progress)
        if out is not None:
            columns = {"split": ["train"] * len(train.names) + ["val"] * len(val.names)}
            if has_classes:
                columns["label"] = [opened.labels[it] for it in (*train.targets, *val.targets)]
            rows = np.concatenate([train.rows, val.rows])
            write_embeddings(out, (*train.names, *val.names), rows, columns)
        told = probe(train, val) if has_classes else None
        fitted = write_distance(opened, train, val) if fit else None
        if as_json:
            print(
                json.dumps({**(told.to_dict() if told else {}), **({"distance": fitted.to_dict()} if fitted else {})})
            )
            return
        for it in (told, fitted):
            if it is not None:
                it.print()
        return
    assert out is not None
    complaints, names, kept = 0, list[str](), list[tuple[str, NDArray[np.float32]]]()

    def complain(name: str, reason: str) -> None:
        nonlocal complaints
        complaints += 1
        print(f"error: {for_terminal(name)}: {for_terminal(reason)}", file=sys.stderr)

    def sources() -> Iterator[Path | bytes]:
        for name, image in find_images(paths or (), complain, lambda line: print(line, file=sys.stderr)):
            names.append(name)
            yield image

    for number, row in enumerate(opened.embed_many(sources())):
        if isinstance(row, ImageError):
            complain(names[number], row.in_a_line)
        else:
            kept.append((names[number], row))
    if not kept:
        raise ConvsmithError("no image has an embedding", fix="Name images that can be read.")
    write_embeddings(out, [name for name, _ in kept], np.stack([row for _, row in kept]))
    written = {"images": len(kept), "length": len(kept[0][1]), "out": str(out)}
    print(json.dumps(written) if as_json else f"{out}: {written['images']} embeddings of {written['length']} numbers")
    if complaints:
        raise typer.Exit(1)
