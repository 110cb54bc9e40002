from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.report import make_report
from tests.colours import write_colour_bundle
from tests.stripes import write_pixel_bundle

NASTY = "<img src=x onerror=alert(1)>&\"'$x$"
LABELS = ("red", NASTY, "blue")


@pytest.fixture(scope="package", autouse=True)
def short_benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_report, "_SECONDS", 0.001)
        yield


@pytest.fixture(scope="package")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that names the strongest colour; the name of green is an unfriendly one."""
    return write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colour", labels=LABELS)


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight noisy images of each class, of which two are of the next colour."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for k, label in enumerate(LABELS):
        (root / label).mkdir()
        for number in range(8):
            pixels = random.integers(0, 100, (12, 10, 3), np.uint8)
            pixels[..., (k + (number < 2)) % 3] += 60
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root


@pytest.fixture(scope="package")
def page(bundle: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that bundle on those images."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    make_report.report(bundle, photos, out)
    return out


@pytest.fixture(scope="package")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of stripes, and masks that call a part of each wrong and leave a part out."""
    root = tmp_path_factory.mktemp("scenes")
    for kind in ("images", "masks"):
        (root / kind / "val").mkdir(parents=True)
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    for number in range(3):
        mask = np.arange(24).repeat(16).reshape(24, 16).astype(np.uint8) // 8
        pixels = np.zeros((24, 16, 3), np.uint8)
        pixels[np.arange(24)[:, None], np.arange(16)[None], mask] = 200
        mask[: number + 1] = 2
        mask[10] = 255
        Image.fromarray(pixels).save(root / f"images/val/{number}.png")
        Image.fromarray(mask).save(root / f"masks/val/{number}.png")
    return root


@pytest.fixture(scope="package")
def page_of_masks(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a bundle that segments, on those images."""
    folder = tmp_path_factory.mktemp("masks")
    make_report.report(write_pixel_bundle(folder / "pixels"), scenes, folder / "report.html")
    return folder / "report.html"
