"""Remedies for files and addresses that are not folders of images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from convsmith.complaints import either
from convsmith.errors import ConvsmithError, printable

_URL = re.compile(r"(?:^|/)((?:https?|s3|gs|az|abfss?|hf|ftp|file):/+[^/].*)")
_PICTURES = (
    ".jp2 .j2k .jxl .psd .svg .cr2 .cr3 .nef .arw .dng .orf .rw2 .raf .raw .exr .dcm .nii .ppm .pgm .pbm .pnm .ico "
    ".tga .pcx .eps .pdf .icns .heics .fits"
)
_COLUMNS = (
    "with a column `image` of paths and a column `label`; or put the images of each class into a folder of its name."
)
_TABLES = ".csv .tsv .jsonl .ndjson .parquet .pq"
_WHAT_TO_DO: Mapping[str, str] = {
    ".zip .tar .gz .tgz .bz2 .xz .zst .7z .rar": "Unpack the archive and give the folder.",
    _TABLES: f"Give the table itself, {_COLUMNS}",
    ".xlsx .xls .ods .lst": f"Save the table as CSV, {_COLUMNS}",
    ".arrow .feather .tfrecord .tfrecords .npz .h5 .hdf5 .mat .pkl .pickle .pt .pth .lmdb .mdb .rec .bin":
        "Images inside a file of data are not read: write each as a JPEG or PNG into a folder of its class.",
    ".npy": "NumPy's files are images where data.channels is not 3: set it to their number of channels.",
    ".mp4 .mov .avi .mkv .webm .m4v": "A video is not read: take pictures from it, such as with ffmpeg.",
    ".xml .json": "Boxes are not read: leave this folder out of the data. Outlined areas are, in the JSON of COCO or "
        "labelme, CVAT's XML for images, and YOLO's data.yaml.",
    _PICTURES: "Convert the pictures to JPEG or PNG.",
}  # fmt: skip
_REMEDIES = {suffix: remedy for suffixes, remedy in _WHAT_TO_DO.items() for suffix in suffixes.split()}


def remedy_for(suffixes: Iterable[str]) -> str:
    """A remedy for files in place of images, by the first extension that is known; empty if none is."""
    return next((_REMEDIES[suffix] for suffix in suffixes if suffix in _REMEDIES), "")


def tables_in(folder: Path) -> str:
    """The remedy where a folder holds a table, which may name the images; empty if it holds none."""
    found = sorted(
        entry.path for entry in os.scandir(folder) if entry.is_file() and Path(entry).suffix.lower() in _TABLES.split()
    )
    return f"Does the table {either(map(printable, found[:3]))} name the images? Then give that." if found else ""


def refuse_what_is_no_folder(given: Path) -> None:
    """Raise a ConvsmithError for a file and for an address on the network, in place of a folder of images."""
    if given.is_file():
        raise ConvsmithError(
            f"{printable(given)} is a file",
            "data is a folder",
            remedy_for([given.suffix.lower()]) or "Give the folder.",
        )
    if (found := _URL.search(str(given))) and not given.exists():
        raise ConvsmithError(
            f"{printable(found[1])} is an address on a network",
            "data is a folder of this machine",
            "Download and unpack it, then give the folder.",
        )
