"""The folder that readers of most pages work in: real photographs, and runs that learned from them.

Photographs are squares of 40 pixels, cut from those that convsmith embeds, so that trainings take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from tests.docs.blocks import Command
from tests.docs.reader import reader

CLASSES = {"cat": "chelsea", "coffee": "coffee", "galaxy": "hubble_deep_field", "rocket": "rocket"}
SIDE = 40
RUNS = """\
convsmith train photos/ --out runs/photos
convsmith train photos/ --out runs/other seed=1 schedule.epochs=5
convsmith train digits --data cifar10/ --out runs/cifar schedule.epochs=2
convsmith train streets/ --out runs/streets schedule.epochs=1
"""


def make_readers_folder(folder: Path) -> None:
    """Fill a folder, in a minute or two."""
    folder.mkdir()
    _photographs(folder)
    said = folder.with_suffix(".log")
    setup = [
        "convsmith data demo digits cifar10/ && rm cifar10/train/*/*[1-9].png",
        "convsmith data demo digit-scenes streets/ && rm streets/*/*/*[1-9].png streets/*/*/*[1-9].jpg",
        "cp streets/images/val/0000.jpg street.jpg",
        *RUNS.splitlines(),
    ]
    with reader(folder, said) as somebody:
        for command in setup:
            status, printed = somebody.run(Command(command))
            assert status == 0, f"{command}\n{printed}\n{said.read_text()}"


def _photographs(folder: Path) -> None:
    """Folders and tables of photographs, and the files that pages name."""
    crops = {name: _crops(embedded) for name, embedded in CLASSES.items()}
    for name, images in crops.items():
        for part, number in (("train", 60), ("test", 25)):
            for i in range(number):
                _save(next(images), folder / "photos" / part / name / f"{i:04}.jpg")
    for name in ("cat.jpg", "photo.jpg", "a.jpg", "new/0001.jpg", "holiday/1.jpg", "x-ray.png", "scans/1.tif"):
        _save(next(crops["cat"]), folder / name)
    for name in ("dog.jpg", "b.jpg", "new/0002.jpg", "holiday/2.jpg"):
        _save(next(crops["coffee"]), folder / name)
    (folder / "new.csv").write_text("image\nnew/0001.jpg\nnew/0002.jpg\n")
    rows = ["image,labels"]
    for i in range(120):  # two photographs side by side
        shown = [[name for name, sign in zip(CLASSES, f"{i % 16:04b}", strict=True) if sign == "1"]][0][:2]
        halves = [np.asarray(next(crops[name]).resize((SIDE, SIDE // 2))) for name in shown or ["galaxy"]]
        _save(Image.fromarray(np.concatenate(halves)), folder / "several" / f"{i:04}.jpg")
        rows.append(f"several/{i:04}.jpg,{'|'.join(shown or ['galaxy'])}")
    (folder / "photos.csv").write_text("\n".join([*rows, ""]))
    for i in range(40):  # four bands of twelve bits
        picture = next(crops["rocket" if i % 2 else "cat"])
        place = folder / "fields" / ("water" if i % 2 else "land") / f"{i:04}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, np.asarray(picture.convert("CMYK"), np.uint16) * 16)


def _crops(embedded: str) -> Iterator[Image.Image]:
    """Squares anywhere in an embedded photograph."""
    place = files("convsmith.data") / "embedded/photographs" / f"{embedded}.jpg"
    with place.open("rb") as file:
        photograph = Image.open(file).convert("RGB")
    corners = np.random.default_rng(0)
    while True:
        x, y = (int(corners.integers(side - 2 * SIDE)) for side in photograph.size)
        yield photograph.crop((x, y, x + 2 * SIDE, y + 2 * SIDE)).resize((SIDE, SIDE))


def _save(image: Image.Image, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    image.save(place)
