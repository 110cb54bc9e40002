"""Parts of Pillow that are imported: those for the formats that are read, and before any image is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

from convsmith.bundle.images.open_image import FORMATS

CODE = """
import sys
from pathlib import Path
from convsmith.bundle.images.open_image import open_image

def plugins():
    return sorted(name for name in sys.modules if name.startswith("PIL.") and name.endswith("ImagePlugin"))

print(*plugins())
for path in map(Path, sys.argv[1:]):
    with open_image(path.read_bytes()) as image:
        image.load()
print(*plugins())
"""
OF_FORMATS = {"Avif", "Bmp", "Gif", "Jpeg", "Mpo", "Png", "Tiff", "WebP"}
OF_PILLOW = {"Ppm"}  # with any other


def test_plugins_of_the_formats_are_imported_alone_and_before_an_image_is_opened(tmp_path: Path) -> None:
    for name in (*FORMATS, "MPO"):
        Image.new("RGB", (8, 8)).save(
            tmp_path / name, name, save_all=name == "MPO", append_images=[Image.new("RGB", (8, 8))]
        )
    command = [sys.executable, "-c", CODE, *map(str, tmp_path.iterdir())]
    before, after = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert set(before.split()) == {f"PIL.{name}ImagePlugin" for name in OF_FORMATS | OF_PILLOW}
    assert after == before
