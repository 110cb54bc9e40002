from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from convsmith.data.digest import data_digest
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.split import Share
from tests.colours import picture, write_colour_bundle
from tests.forked import run_command

WARNING = "warning: all labelled images of the data are judged, including any that the bundle was trained on\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for colour in ("red", "blue"):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for name in ("a.png", "b.png"):
            (tmp_path / "photos" / colour / name).write_bytes(picture(colour))
    return tmp_path / "photos"


def run(bundle: Path, data: Path, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
    result = run_command("evaluate", bundle, "--data", data)
    assert result.returncode == exit_code, result.stderr
    return subprocess.CompletedProcess((), exit_code, result.stdout.decode(), result.stderr.decode())


def test_a_label_cannot_steer_the_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    label = "red\x1b[31m"
    bundle = write_colour_bundle(tmp_path / "bundle", labels=(label, "green", "blue"))
    (tmp_path / "photos" / label).mkdir(parents=True)
    (tmp_path / "photos" / label / "a.png").write_bytes(picture("red"))
    (tmp_path / "photos" / "blue").mkdir()
    shown = run(bundle, tmp_path / "photos").stdout
    assert "\x1b" not in shown
    assert "red\\x1b[31m" in shown


def test_a_label_in_an_error_cannot_steer_the_terminal(tmp_path: Path, photos: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", labels=("red\x1b[31m", "green", "blue"))
    assert "its classes are `red\\x1b[31m`" in run(bundle, photos, exit_code=2).stderr


def test_an_unreadable_file_cannot_steer_the_terminal(tmp_path: Path, photos: Path) -> None:
    (photos / "red" / "\x1b[31m.png").write_bytes(b"")
    assert "\x1b" not in run(write_colour_bundle(tmp_path / "bundle"), photos).stderr


def test_a_folder_that_was_split_otherwise_is_judged_with_a_warning(tmp_path: Path, photos: Path) -> None:
    assert WARNING in run(write_colour_bundle(tmp_path / "bundle", data_digest="other data"), photos).stderr


def test_the_folder_that_training_split_is_judged_without_a_warning(tmp_path: Path, photos: Path) -> None:
    recipe, digest = {"data": {"val_fraction": 0.5}}, data_digest(open_image_folder(photos, Share(0.5)))
    bundle = write_colour_bundle(tmp_path / "bundle", recipe=recipe, data_digest=digest)
    assert WARNING not in run(bundle, photos).stderr


def test_a_folder_with_val_is_judged_without_a_warning(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "data").mkdir()
    photos.rename(tmp_path / "data" / "val")
    bundle = write_colour_bundle(tmp_path / "bundle", data_digest="other data")
    assert WARNING not in run(bundle, tmp_path / "data").stderr


def test_a_table_with_rows_of_val_is_judged_without_a_warning(tmp_path: Path, photos: Path) -> None:
    rows = [f"{path.relative_to(photos)},{path.parent.name},val" for path in sorted(photos.glob("*/*.png"))]
    (photos / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    bundle = write_colour_bundle(tmp_path / "bundle", data_digest="other data")
    assert WARNING not in run(bundle, photos / "labels.csv").stderr


def test_a_bundle_of_unknown_data_is_judged_without_a_warning(colour_bundle: Path, photos: Path) -> None:
    assert WARNING not in run(colour_bundle, photos).stderr


def test_parts_by_a_column_and_a_row_for_each_image_are_options(
    colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    names = []
    for i in range(44):
        dark = i % 2 == 0
        (photos / "red" / f"{i}.png").write_bytes(picture("#000020" if dark else "#e01010"))
        names.append(f"red/{i}.png,red,{'night' if dark else 'day'}")
    table = photos / "labels.csv"
    table.write_text("\n".join(["image,label,light", *names, "blue/a.png,blue,day"]))
    out = tmp_path / "rows.csv"
    result = run_command("evaluate", colour_bundle, "--data", table, "--slice", "light", "--out", out)
    assert result.returncode == 0, result.stderr
    assert "light night: 0.0% (0.0 to 14.9) of 22 images, 51.1% expected" in result.stdout.decode()
    assert len(out.read_text().splitlines()) == 46
    shown = run_command("evaluate", colour_bundle, "--data", table, "--slice", "light", "--json").stdout
    assert [it["conditions"] for it in json.loads(shown)["slices"]["slices"] if it["stands_out"]][-1]["class"] == "red"
