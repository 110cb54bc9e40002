"""Images that are nearly the same: planted ones found among CIFAR-10, beside imagededup, and 10 million hashes.

    python benchmarks/near_duplicates.py CIFAR10/train [IMAGES] [PYTHON]
    python benchmarks/near_duplicates.py 10000000

There are six changed copies of 1,000 images: saved anew as a JPEG of quality 70, resized to twice and to half the
size, cut by a pixel at the sides and two above and below, a fifth brighter, and mirrored, each saved so. They are for
validation, IMAGES of the folder for training, all by default. PYTHON is an interpreter with imagededup, whose PHash is
asked about the same files, with 10 bits that may differ, as is its default. A number searches so many random hashes
instead.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from convsmith.data.checks.check import look
from convsmith.data.checks.near import Images, find_near
from convsmith.data.checks.near_copies import compared_images
from convsmith.data.open_data import open_data
from convsmith.recipe.data import Data

PLANTED = 1000
CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "saved anew": lambda image: image,
    "twice the size": lambda image: image.resize((64, 64), Image.Resampling.BICUBIC),
    "half the size": lambda image: image.resize((16, 16), Image.Resampling.BICUBIC),
    "cropped": lambda image: image.crop((1, 2, 31, 30)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "mirrored": ImageOps.mirror,
}

IMAGEDEDUP = """
import json, sys, time
import imagededup.methods.hashing as hashing
start = time.perf_counter()
method = hashing.PHash(verbose=False)
hashes = method.encode_images(sys.argv[1], recursive=True, num_enc_workers=1)
encoded = time.perf_counter()
found = method.find_duplicates(encoding_map=hashes, max_distance_threshold=10, num_dist_workers=1)
print(json.dumps({"hashing": encoded - start, "search": time.perf_counter() - encoded, "found": found}))
"""


def plant(images: Path, root: Path, count: int) -> dict[str, tuple[str, str]]:
    """Lay the data out; by the name of each copy, what was changed and the name of its source."""
    files, random, copies = sorted(images.glob("*/*.jpg")), np.random.default_rng(0), {}
    files = [files[i] for i in sorted(random.permutation(len(files))[:count].tolist())]
    for file in files:
        (root / "train" / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, root / "train" / file.parent.name)
    for i in random.choice(len(files), PLANTED, replace=False).tolist():
        label, stem = files[i].parent.name, files[i].stem
        for change, make in CHANGES.items():
            copy = root / "val" / label / f"{stem}-{change.replace(' ', '-')}.jpg"
            copy.parent.mkdir(parents=True, exist_ok=True)
            with Image.open(files[i]) as image:
                make(image.convert("RGB")).save(copy, quality=70)
            copies[str(copy.relative_to(root))] = (change, f"train/{label}/{stem}.jpg")
    return copies


def report(who: str, copies: dict[str, tuple[str, str]], found: dict[str, set[str]]) -> None:
    """Print the share of planted copies of each kind that are found with their source."""
    shares = {
        change: np.mean([source in found.get(copy, ()) for copy, (kind, source) in copies.items() if kind == change])
        for change in CHANGES
    }
    print(f"{who}: " + ", ".join(f"{change} {share:.1%}" for change, share in shares.items()))


def among_photos(images: Path, count: int, python: str | None) -> None:
    """Plant, look, search, and let imagededup do the same."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copies = plant(images, root, count)
        dataset = open_data("classification", Data(), root)
        start = time.perf_counter()
        parts = {"train": dataset.train, "val": dataset.val}
        looks = {name: look(part, True, processes=1, with_prints=True) for name, part in parts.items()}
        looked = time.perf_counter()
        compared = compared_images(dataset, looks)  # type: ignore[arg-type]
        leaked = find_near(compared).partners[0]
        print(f"convsmith: {looked - start:.1f} s to look, {time.perf_counter() - looked:.2f} s to search")
        places = np.flatnonzero(leaked >= 0)
        places = places[places >= len(dataset.train)]
        found = {
            str(Path(dataset.val.name(int(i) - len(dataset.train))).relative_to(root)): {
                str(Path(dataset.train.name(int(leaked[i]))).relative_to(root))
            }
            for i in places
        }
        report("convsmith", copies, found)
        own = find_near(compared).partners[2][: len(dataset.train)]
        print(f"{int((own >= 0).sum())} training images are nearly the same as another of their class, as they came")
        if python:
            told = subprocess.run([python, "-c", IMAGEDEDUP, str(root)], check=True, capture_output=True, text=True)
            answer = json.loads(told.stdout.splitlines()[-1])
            print(f"imagededup: {answer['hashing']:.1f} s to hash, {answer['search']:.2f} s to search")
            report("imagededup", copies, {name: set(near) for name, near in answer["found"].items()})
            alone = [name for name, near in answer["found"].items() if name.startswith("train/") and near]
            print(f"{len(alone)} training images are duplicates to imagededup, as they came or of copies")


def among_numbers(count: int) -> None:
    """Search random hashes, of which each hundredth is another one with three bits changed."""
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, count, dtype=np.uint64)
    planted = np.arange(0, count - 1, 100)
    hashes[planted + 1] = hashes[planted] ^ np.uint64(0b10000000000100000000000000000000000001)
    features = random.integers(0, 256, (count, 48), dtype=np.uint8)
    features[planted + 1] = features[planted]
    images = Images(
        hashes=hashes,
        features=features,
        judged=np.zeros(count, bool),
        targets=np.zeros(count, np.int64),
        contents=np.arange(count, dtype=np.uint64),
        mirrored=random.integers(0, 2**64, count, dtype=np.uint64),
    )
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    found = find_near(images).partners[2]
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    right = float((found[planted + 1] == planted).mean())
    print(f"{count:,} hashes: {seconds:.0f} s, {(after - before) * 1024 / count:.0f} bytes of each, {right:.1%} found")


if __name__ == "__main__":
    if sys.argv[1].isdecimal():
        among_numbers(int(sys.argv[1]))
    else:
        given = [*sys.argv[2:], *([""] * 2)]
        among_photos(Path(sys.argv[1]), int(given[0] or 10**9), given[1] or None)
