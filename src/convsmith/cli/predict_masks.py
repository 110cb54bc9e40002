"""What `convsmith predict` does with a bundle for segmentation."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

from PIL import Image

from convsmith.bundle.decode import ImageError
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.segmentation import Segmentation
from convsmith.cli.image_paths import Complain
from convsmith.cli.text import printable
from convsmith.errors import ConvsmithError, of_system
from convsmith.output import output_that_may_be_lost
from convsmith.storage import clear_abandoned, write_file


@output_that_may_be_lost("stdout")
def predict_masks(
    bundle: Bundle,
    images: Iterable[tuple[str, Path | bytes]],
    out: Path,
    output: str,
    top: int | None,
    complain: Complain,
) -> None:
    """Segment images one by one: files into `out`, areas onto standard output.

    Args:
        bundle: for segmentation.
        images: names and sources.
        out: gets NAME.png, NAME.overlay.jpg and NAME.json of each image.
        output: `table`, `jsonl` or `csv`.
        top: how many classes to print, the largest first; None prints all that an image shows.
        complain: is told of images that cannot be read.

    Raises:
        ConvsmithError: a file cannot be written, or images lie in `out`, where masks would replace them.
    """
    printers = {"table": _print_row, "jsonl": _print_json, "csv": _print_csv}
    if output == "csv":
        print("path,class_id,label,pixels,share")
    if out.is_dir():
        clear_abandoned(out)
    taken: set[str] = set()
    for name, source in images:
        if isinstance(source, Path) and out.is_dir() and source.parent.resolve() == out.resolve():
            raise ConvsmithError(
                f"{printable(name)} lies in the folder for the masks", "a mask may replace it", "Choose another --out."
            )
        try:
            pixels = bundle.preprocess(source)
            answer = bundle.predict_preprocessed(pixels)
        except ImageError as error:
            complain(name, error.why)
            continue
        assert isinstance(answer, Segmentation)
        stem = _free_stem(name, taken)
        try:
            out.mkdir(parents=True, exist_ok=True)
            overlay = BytesIO()
            Image.fromarray(answer.overlay(pixels.transpose(1, 2, 0))).save(overlay, "JPEG", quality=90)
            write_file(out / f"{stem}.png", answer.index_png())
            write_file(out / f"{stem}.overlay.jpg", overlay.getvalue())
            write_file(out / f"{stem}.json", json.dumps({"path": printable(name), **answer.to_dict()}) + "\n")
        except OSError as error:
            told = of_system(error, f"cannot write into {out}")
            told.fix = f"{told.fix} Or choose another folder with --out.".lstrip()
            raise told from error
        printers[output](name, answer, top)


def _free_stem(name: str, taken: set[str]) -> str:
    """A name for the files of an image, that no other image of this call has."""
    base = "stdin" if name == "-" else Path(name).stem
    stem, number = base, 1
    while stem in taken:
        number += 1
        stem = f"{base}-{number}"
    taken.add(stem)
    return stem


def _print_row(name: str, answer: Segmentation, top: int | None) -> None:
    shares = [f"{entry['share']:.1%} {printable(entry['label'])}" for entry in answer.to_dict()["classes"][:top]]
    print(f"{printable(name)}  {', '.join(shares)}", flush=True)


def _print_json(name: str, answer: Segmentation, top: int | None) -> None:
    values = answer.to_dict()
    print(json.dumps({"path": name, **values, "classes": values["classes"][:top]}), flush=True)


def _print_csv(name: str, answer: Segmentation, top: int | None) -> None:
    import csv
    import sys

    rows = csv.writer(sys.stdout, lineterminator="\n")
    for entry in answer.to_dict()["classes"][:top]:
        rows.writerow([name, entry["class_id"], entry["label"], entry["pixels"], entry["share"]])
    sys.stdout.flush()
