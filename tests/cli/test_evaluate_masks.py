"""convsmith evaluate with a bundle for segmentation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from convsmith.cli.main import main
from convsmith.data.masks.mask_folder import open_mask_folder
from convsmith.data.split import Share
from convsmith.recipe.mask_data import Masks
from tests.cli.test_evaluate import WARNING
from tests.stripes import write_pixel_bundle, write_stripes

VAL = [("red", "red", "blue"), ("blue", "red", "red")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_stripes(tmp_path / "data", "val", VAL)


def evaluate(*arguments: str | Path, exit_code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, arguments)])
    assert ended.value.code == exit_code


def test_the_table_has_the_figures_and_a_line_for_each_class(
    pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(pixel_bundle, "--data", data)
    first, *table = capsys.readouterr().out.splitlines()
    assert first.split("  ") == [
        "2 images",
        "mIoU 66.67%",
        "Dice 100.00%",
        "mean accuracy 66.67%",
        "pixel accuracy 100.00%",
    ]
    rows = {row[0]: row[1:] for row in map(str.split, table) if row}
    assert rows["red"] == ["66.67%", "100.00%", "100.00%"]
    assert rows["blue"] == ["33.33%", "100.00%", "100.00%"]
    assert rows["green"] == []
    assert table[-1] == "Classes without pixels there count as 0 in the means: 1 of 3."


def test_validation_images_of_the_training_are_called_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stripes(data, "train", VAL)
    digest = open_mask_folder(data, Masks(), Share(0.1)).names_digest
    recipe = {"data": {"val_fraction": 0.1, "masks": None}}
    evaluate(write_pixel_bundle(tmp_path / "bundle", recipe=recipe, data_digest=digest), "--data", data)
    shown = capsys.readouterr()
    assert shown.out.startswith("2 held-out images")
    assert WARNING not in shown.err


def test_json_is_one_object_with_all_figures(
    pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(pixel_bundle, "--data", data, "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["labels"] == ["red", "green", "blue"]
    assert report["iou"] == [1.0, 0.0, 1.0]
    assert report["confusion"] == [[180, 0, 0], [0, 0, 0], [0, 0, 90]]
    assert (report["pixel_accuracy"], report["boundary_iou"], report["unreadable"]) == (1.0, None, [])


def test_boundary_iou_is_one_more_figure(pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(pixel_bundle, "--data", data, "--boundary-iou")
    assert "boundary IoU 66.67%" in capsys.readouterr().out


def test_key_value_words_say_how_to_look(pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(pixel_bundle, "flip=true", "mirrored_classes=[[0, 2]]", "--data", data, "--json")
    assert json.loads(capsys.readouterr().out)["accuracy"] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("word", ["window.size=[4, 4]", "base_size=30", "scales=[0.5, 1, 2]"])
def test_windows_and_sizes_can_be_asked_for(
    pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    evaluate(pixel_bundle, word, "--data", data, "--json")
    assert json.loads(capsys.readouterr().out)["pixel_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("zoom=2", "zoom"),
        ("flip=often", "flip"),
        ("flip", "flip"),
        ("mirrored_classes=[[0, 9]]", "classes are 0 to 2"),
    ],
)
def test_a_word_that_says_nothing_is_an_error(
    pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], word: str, reason: str
) -> None:
    evaluate(pixel_bundle, word, "--data", data, exit_code=2)
    assert reason in capsys.readouterr().err


def test_other_classes_are_an_error(pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data / "classes.txt").write_text("sky\nroad\ncar\n")
    evaluate(pixel_bundle, "--data", data, exit_code=2)
    assert "has other classes than the bundle" in capsys.readouterr().err


def test_images_left_out_are_named_on_stderr(
    pixel_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "masks" / "val" / "1.png").write_bytes(b"")
    evaluate(pixel_bundle, "--data", data)
    shown = capsys.readouterr()
    assert shown.out.startswith("1 image  ")
    assert "left out: " in shown.err
    assert "1.png" in shown.err


@pytest.mark.parametrize(("part", "warned"), [("val", False), ("train", True)])
def test_other_data_are_judged_with_a_warning_where_the_bundle_may_have_learned_from_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, warned: bool
) -> None:
    data = write_stripes(tmp_path / "data", part, VAL)
    evaluate(write_pixel_bundle(tmp_path / "bundle", data_digest="other data"), "--data", data)
    assert (WARNING in capsys.readouterr().err) == warned


def test_boundaries_of_a_classifier_are_an_error(
    colour_bundle: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(colour_bundle, "--data", data, "--boundary-iou", exit_code=2)
    assert "boundaries are measured of masks" in capsys.readouterr().err


def test_a_label_cannot_steer_the_terminal(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = "red\x1b[31m"
    (data / "classes.txt").write_text(f"{label}\ngreen\nblue\n")
    evaluate(write_pixel_bundle(tmp_path / "bundle", labels=(label, "green", "blue")), "--data", data)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "red\\x1b[31m" in shown
