"""Takes the pictures of a tutorial anew, from the folder in which all of its commands have run.

    .venv/bin/python tools/pictures.py classify FOLDER

Pages are photographed by Chromium, in the light style; pictures that the tutorial draws itself are only made smaller.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

from PIL import Image

PICTURES = Path(__file__).parents[1] / "docs" / "tutorials" / "pictures"
WIDTH, MOST_BYTES = 1000, 150_000
PORT = 8399


def section(page: str, name: str, folder: Path) -> Image.Image:
    """A section of a page, by the name in its address; the top of the page where the name is empty."""
    with tab() as shown:
        shown.goto((folder / page).absolute().as_uri())
        part = shown.locator(f"#{name}") if name else shown
        return Image.open(io.BytesIO(part.screenshot()))


def drawn(name: str, folder: Path) -> Image.Image:
    """A picture that the tutorial makes."""
    return Image.open(folder / name)


def masks(images: str, answers: str, folder: Path) -> Image.Image:
    """Three images, evenly of all in a folder, above their masks."""
    paths = sorted((folder / images).iterdir())
    chosen = paths[len(paths) // 6 :: len(paths) // 3][:3]
    pairs = [(Image.open(it), Image.open(folder / answers / f"{it.stem}.overlay.jpg")) for it in chosen]
    width, height = pairs[0][0].size
    sheet = Image.new("RGB", (3 * width, 2 * height))
    for column, pair in enumerate(pairs):
        for row, picture in enumerate(pair):
            sheet.paste(picture, (column * width, row * height))
    return sheet


def answered(run: str, image: str, folder: Path) -> Image.Image:
    """The page of a server that has answered an image."""
    command = [sys.executable, "-m", "convsmith", "serve", str(folder / run), "--port", str(PORT)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server, tab() as shown:
        try:
            while not _is_ready():
                sleep(0.2)
            shown.goto(f"http://127.0.0.1:{PORT}/")
            shown.set_input_files("input[type=file]", str(folder / image))
            shown.wait_for_selector("#answer figure, #answer table, #answer article, #answer section")
            return Image.open(io.BytesIO(shown.screenshot()))
        finally:
            server.terminate()


def _is_ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/readyz") as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def tab() -> Iterator[Any]:
    """A page of Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": WIDTH, "height": 700}, color_scheme="light")
        browser.close()


TAKEN: dict[str, dict[str, Callable[[Path], Image.Image]]] = {
    "classify": {
        "classify-confusion": partial(section, "runs/digits/report.html", "confusion"),
        "serve-page": partial(answered, "runs/digits", "digits/val/3/0003.png"),
    },
    "segment": {
        "segment-training": partial(drawn, "sheet.jpg"),
        "segment-masks": partial(masks, "camvid/images/val", "masks"),
    },
    "shrink": {"shrink-compared": partial(section, "compared.html", "models")},
    "serve-and-watch": {"serve-drift": partial(drawn, "drift.png")},
    "reproduce-a-paper": {"reproduce-curves": partial(section, "runs/short/report.html", "curves")},
    "many-machines": {"machines-losses": partial(drawn, "losses.png")},
}


def keep(picture: Image.Image, path: Path) -> None:
    """Write a picture as WebP that is not too large."""
    picture = picture.convert("RGB")
    picture.thumbnail((WIDTH, 2 * WIDTH))
    picture.save(path, quality=80, method=6)
    assert path.stat().st_size < MOST_BYTES, path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tutorial", choices=TAKEN)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    for name, take in TAKEN[asked.tutorial].items():
        keep(take(asked.folder), PICTURES / f"{name}.webp")
