from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from convsmith.analyze.check_data import check_data
from tests.analyze.report.tags import Tags
from tests.data.folders import png, write_noise

NASTY = "<img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of noise in two classes, one of an unfriendly name, with a bad file, a plain one, and a leak."""
    folder = tmp_path_factory.mktemp("page")
    root = write_noise(folder / "photos", 8)
    for split in ("train", "val"):
        (root / split / "c0").rename(root / split / NASTY)
    (root / "train/c1/bad.png").write_bytes(b"")
    (root / "train/c1/<b>plain.png").write_bytes(png(size=(10, 8)))
    shutil.copy(root / "val/c1/0009.png", root / "train/c1/copy.png")
    check_data(root, "digits", html=folder / "photos.html")
    return folder / "photos.html"


def test_nothing_on_the_page_is_fetched_and_nothing_runs(page: Path) -> None:
    found = Tags(page)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert all(
            (attributes.get(name) or "data:").startswith(("data:image/jpeg;base64,", "data:")) for name in ("src",)
        )
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?:|url\(|@import", page.read_text("utf-8"))


def test_names_are_text_whatever_they_hold(page: Path) -> None:
    found = Tags(page)
    assert NASTY in found.text
    assert "<b>plain.png" in found.text
    assert "b" not in {tag for tag, _ in found.tags}


def test_all_findings_have_their_section(page: Path) -> None:
    found = Tags(page)
    targets = {attributes.get("id") for tag, attributes in found.tags if tag == "section"}
    links = {(attributes.get("href") or "")[1:] for tag, attributes in found.tags if tag == "a"}
    assert links == targets
    assert {"verdict", "splits", "classes", "suspicious-files", "the-same-image-twice"} <= targets
    assert {"files-that-cannot-be-used", "images-as-they-are-learned-from"} <= targets


def test_pictures_are_shown_of_suspicious_files_and_copies_and_training_images(page: Path) -> None:
    pictures = [attributes for tag, attributes in Tags(page).tags if tag == "img"]
    assert len(pictures) >= 1 + 2 + 8
    assert page.stat().st_size < 5_000_000


def test_the_page_of_many_findings_stays_small(tmp_path: Path) -> None:
    root = write_noise(tmp_path / "photos", 300, size=(200, 150))
    for i in range(100):
        shutil.copy(root / f"train/c{i % 2}/{i:04}.png", root / f"val/c{i % 2}/copy{i}.png")
        (root / f"train/c0/plain{i}.png").write_bytes(png((i, i, i), (200, 150)))
    check_data(root, "digits", html=tmp_path / "photos.html")
    assert (tmp_path / "photos.html").stat().st_size < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("size", ["1200,900", "390,800"], ids=["desk", "phone"])
def test_a_browser_draws_the_page_within_the_width_of_its_window(page: Path, tmp_path: Path, size: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed here")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    command = [
        chromium,
        *options,
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={size}",
        "--hide-scrollbars",
    ]
    shot = tmp_path / "shot.png"
    subprocess.run([*command, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True, timeout=120)
    with Image.open(shot) as picture:
        assert len(picture.convert("RGB").getcolors(2**20) or []) > 50  # noise, not an empty page
