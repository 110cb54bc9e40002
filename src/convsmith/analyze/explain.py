"""Where a run or a bundle looked in images, and pictures of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from convsmith.analyze.explainer import Explainer, Explanation, open_explainer
from convsmith.analyze.picture_names import free_stem, refuse_inside
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.preprocess import ImageSource
from convsmith.data.folders.image_paths import Named, named_images
from convsmith.errors import ConvsmithError, did_you_mean, of_system
from convsmith.storage import write_file


def explain(
    place: str | Path,
    images: ImageSource | Iterable[ImageSource],
    out: str | Path | None = None,
    *,
    method: str | None = None,
    label: str | None = None,
    device: str = "auto",
    runtime: str | None = None,
) -> list[Explanation | ImageError]:
    """Say where a run or a bundle looked in each image; an ImageError stands for one that cannot be read.

    Args:
        place: a run's directory, or a bundle.
        images: one or several, of the kinds that `Bundle.predict` takes, folders and patterns of paths too.
        out: a folder for pictures; None: none are written.
        method: `grad-cam`, `layer-cam`, `cam`, `occlusion` or `rise`; None: `grad-cam` of a run, `occlusion` of a
            bundle.
        label: the class; None: the one that is predicted.
        device: of the bundle, as `load` takes it; gradients are computed on the CPU.
        runtime: likewise.

    Raises:
        ConvsmithError: there is no such method or class, a bundle is asked for gradients, its model has no map, an
            image lies in `out`, or that cannot be written.

    Examples:
        >>> (look,) = cs.explain("runs/photos", "photos/val/red/0.png", "looks/")
        >>> look.label, look.heat.shape
        ('red', (8, 8))
    """
    explainer = open_explainer(place, method, device=device, runtime=runtime)
    return list(explanations(explainer, named_images(images), out, label=label))


def explanations(
    explainer: Explainer,
    images: Iterable[Named],
    out: str | Path | None,
    *,
    label: str | None = None,
    as_json: bool = False,
) -> Iterator[Explanation | ImageError]:
    """Yield where a model looked in each image, once its picture is written: `NAME.png`.

    Args:
        explainer: the model.
        images: with their names.
        out: the folder for the pictures; None: none are written.
        label: the class; None: the one that is predicted.
        as_json: write `NAME.json` beside each picture.

    Raises:
        ConvsmithError: there is no such class, an image lies in `out`, or that cannot be written.
    """
    labels, taken = explainer.bundle.labels, set[str]()
    if label is not None and label not in labels:
        raise ConvsmithError(f"there is no class `{label}`{did_you_mean(label, labels)}", fix=_listed(labels))
    class_id = None if label is None else labels.index(label)
    for name, source in images:
        if out is not None:
            refuse_inside(Path(out), name, source, "picture")
        try:
            found = explainer.explain(explainer.seen(source, name), class_id, name)
        except ImageError as error:
            yield error
            continue
        if out is not None:
            _write(found, Path(out) / free_stem(name, taken), as_json)
        yield found


def _write(found: Explanation, stem: Path, as_json: bool) -> None:
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        write_file(stem.with_name(f"{stem.name}.png"), found.png())
        if as_json:
            write_file(stem.with_name(f"{stem.name}.json"), json.dumps(found.to_dict()) + "\n")
    except OSError as error:
        raise of_system(error, f"cannot write into {stem.parent}") from error


def _listed(labels: tuple[str, ...]) -> str:
    return f"There are {', '.join(labels[:20])}{' and more' if len(labels) > 20 else ''}."
