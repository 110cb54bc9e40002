"""convsmith predict with a bundle for segmentation: files in a folder, areas on standard output."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.segmentation import Segmentation
from convsmith.cli.main import main
from tests.stripes import stripes, stripes_mask, stripes_png, write_pixel_bundle

SCENES = {"a.png": ("red", "green", "red", "red", "red"), "b.png": ("blue",)}


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two scenes; the working directory is beside them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, colours in SCENES.items():
        (folder / name).write_bytes(stripes_png(*colours))
    monkeypatch.chdir(tmp_path)
    return folder


def predict(*arguments: str | Path, exit_code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["predict", *map(str, arguments)])
    assert ended.value.code == exit_code


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_each_image_gets_a_mask_an_overlay_and_its_areas(pixel_bundle: Path, photos: Path) -> None:
    predict(pixel_bundle, photos, "--out", "masks/here")
    expected = {f"{stem}{end}" for stem in "ab" for end in (".png", ".overlay.jpg", ".json")}
    assert files_of(Path("masks/here")) == expected


def test_files_go_into_predictions_where_no_folder_is_named(pixel_bundle: Path, photos: Path) -> None:
    predict(pixel_bundle, photos / "a.png")
    assert files_of(Path("predictions")) == {"a.png", "a.overlay.jpg", "a.json"}


def test_the_mask_is_a_png_of_classes_with_their_colours(pixel_bundle: Path, photos: Path) -> None:
    predict(pixel_bundle, photos, "--out", "masks")
    with Image.open("masks/a.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), stripes_mask(*SCENES["a.png"]))
        assert image.convert("RGB").getpixel((4, 0)) == (128, 0, 0)


def test_the_overlay_is_the_image_under_the_colours(pixel_bundle: Path, photos: Path) -> None:
    predict(pixel_bundle, photos, "--out", "masks")
    pixels = stripes(*SCENES["b.png"])
    bundle: Bundle[Segmentation] = load(pixel_bundle)
    expected = bundle.predict(pixels).overlay(pixels)
    with Image.open("masks/b.overlay.jpg") as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image, np.float32) - expected).mean() < 3


def test_the_json_has_the_area_of_each_class(pixel_bundle: Path, photos: Path) -> None:
    predict(pixel_bundle, photos / "a.png", "--out", "masks", "--top", "1")
    assert json.loads(Path("masks/a.json").read_text()) == {
        "path": str(photos / "a.png"),
        "size": [9, 15],
        "classes": [
            {"class_id": 0, "label": "red", "pixels": 108, "share": 0.8},
            {"class_id": 1, "label": "green", "pixels": 27, "share": 0.2},
        ],
        "meta": {"runtime": "onnxruntime", "device": "cpu", "provider": "CPUExecutionProvider"},
    }


def test_images_of_one_name_do_not_overwrite_each_other(pixel_bundle: Path, photos: Path) -> None:
    for folder in ("other", "third"):
        Path(folder).mkdir()
        Path(folder, "a.png").write_bytes(stripes_png("blue"))
    Path("third", "a-2.png").write_bytes(stripes_png("green"))
    predict(pixel_bundle, "photos/a.png", "other/a.png", "third", "--out", "masks")
    paths = {stem: json.loads(Path(f"masks/{stem}.json").read_text())["path"] for stem in ("a", "a-2", "a-2-2", "a-3")}
    assert paths == {"a": "photos/a.png", "a-2": "other/a.png", "a-2-2": "third/a-2.png", "a-3": "third/a.png"}


def test_masks_are_not_written_over_the_images(pixel_bundle: Path, photos: Path) -> None:
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    predict(pixel_bundle, photos, "--out", "photos", exit_code=2)
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before


def test_an_image_on_standard_input_is_called_stdin(pixel_bundle: Path, photos: Path) -> None:
    command = [sys.executable, "-m", "convsmith.cli.main", "predict", str(pixel_bundle), "-", "--out", "masks"]
    subprocess.run(command, input=stripes_png("blue"), check=True, capture_output=True)
    assert files_of(Path("masks")) == {"stdin.png", "stdin.overlay.jpg", "stdin.json"}


def test_the_table_has_a_line_for_each_image_with_the_largest_first(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(pixel_bundle, "photos", "--out", "masks")
    assert capsys.readouterr().out.splitlines() == [
        "photos/a.png  80.0% red, 20.0% green",
        "photos/b.png  100.0% blue",
    ]


@pytest.mark.parametrize("option", [["--json"], ["--format", "jsonl"]])
def test_json_lines_are_what_the_files_say(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    predict(pixel_bundle, "photos", "--out", "masks", *option)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [json.loads(Path(f"masks/{stem}.json").read_text()) for stem in "ab"]


def test_csv_has_a_row_for_each_class_of_each_image(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(pixel_bundle, "photos", "--out", "masks", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert [(row["path"], row["class_id"], row["label"], row["pixels"], float(row["share"])) for row in rows] == [
        ("photos/a.png", "0", "red", "108", 0.8),
        ("photos/a.png", "1", "green", "27", 0.2),
        ("photos/b.png", "2", "blue", "135", 1.0),
    ]


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
def test_top_prints_so_many_classes_of_each_image(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    predict(pixel_bundle, photos / "a.png", "--out", "masks", "--format", output, "--top", "1")
    shown = capsys.readouterr().out
    assert "red" in shown
    assert "green" not in shown


def test_a_bad_file_is_one_line_on_stderr_and_the_others_are_segmented(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "aa.png").write_bytes(b"hello")
    predict(pixel_bundle, "photos", "gone.png", "--out", "masks", exit_code=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(": ")[0] for line in lines] == ["photos/aa.png", "gone.png"]
    assert {"a.png", "b.png"} <= files_of(Path("masks"))
    assert "aa.png" not in files_of(Path("masks"))


def test_an_image_too_large_to_be_segmented_is_a_bad_file(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convsmith.bundle.segment.MAX_PASS_PIXELS", 200)
    (photos / "aa.png").write_bytes(stripes_png("red", size=(20, 20)))
    predict(pixel_bundle, "photos", "--out", "masks", exit_code=1)
    assert capsys.readouterr().err.startswith("error: photos/aa.png: the model would look at 20 x 20 pixels at once")
    assert "b.png" in files_of(Path("masks"))


def test_a_folder_that_cannot_be_written_is_an_error_of_two_lines(
    pixel_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("masks").write_text("a file")
    predict(pixel_bundle, "photos", "--out", "masks", exit_code=2)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: cannot write into masks")
    assert "--out" in second


def test_a_folder_for_masks_is_refused_for_a_classifier(
    colour_bundle: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict(colour_bundle, "photos", "--out", "masks", exit_code=2)
    printed = capsys.readouterr()
    assert "masks does not say what to write" in printed.err
    assert printed.out == ""
    assert not Path("masks").exists()


def test_a_label_cannot_steer_the_terminal(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = write_pixel_bundle(Path("bundle"), labels=("red\x1b[31m", "green", "blue"))
    predict(bundle, "photos", "--out", "masks")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "red\\x1b[31m" in shown
