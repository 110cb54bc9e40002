"""Predictions in files of the three kinds."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

import convsmith as cs
from convsmith.analyze.write_rows import write_rows
from convsmith.errors import ConvsmithError
from tests.colours import picture

LABELS = ("a", "b,c")
ROWS = [
    {"name": 'x "1".png', "true": "a", "right": True, "loss": 0.25, "scores": [0.75, 0.25], "width": 3},
    {"name": "ü.png", "true": "b,c", "right": False, "loss": 1.5, "scores": [0.5, 0.5], "width": 4},
]


def from_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def from_jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def from_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize(("ending", "read"), [(".jsonl", from_jsonl), (".parquet", from_parquet)])
def test_rows_come_back_with_scores_by_label(tmp_path: Path, ending: str, read: Callable[[Path], Any]) -> None:
    write_rows(tmp_path / f"p{ending}", ROWS, LABELS)
    assert read(tmp_path / f"p{ending}") == [
        {**row, "scores": dict(zip(LABELS, row["scores"], strict=True))}  # type: ignore[call-overload]
        for row in ROWS
    ]


def test_csv_has_a_column_for_each_class(tmp_path: Path) -> None:
    write_rows(tmp_path / "p.CSV", ROWS, LABELS)
    assert from_csv(tmp_path / "p.CSV")[0] == {
        "name": 'x "1".png', "true": "a", "right": "true", "loss": "0.25", "score a": "0.75", "score b,c": "0.25",
        "width": "3",
    }  # fmt: skip


def test_csv_of_very_many_classes_has_the_highest_scores_in_one_cell(tmp_path: Path) -> None:
    labels = [f"ç{i}" for i in range(300)]
    write_rows(tmp_path / "p.csv", [{"name": "x", "scores": [i / 300 for i in range(300)]}], labels)
    (row,) = from_csv(tmp_path / "p.csv")
    assert list(json.loads(row["scores"])) == ["ç299", "ç298", "ç297", "ç296", "ç295"]
    assert "ç299" in row["scores"]  # as a person reads it, and finds it


@pytest.mark.parametrize(("ending", "read"), [(".csv", from_csv), (".jsonl", from_jsonl), (".parquet", from_parquet)])
def test_several_labels_are_lists_or_joined(tmp_path: Path, ending: str, read: Callable[[Path], Any]) -> None:
    write_rows(tmp_path / f"p{ending}", [{"true": []}, {"true": ["a", "b"]}], ())
    expected = ["", "a|b"] if ending == ".csv" else [[], ["a", "b"]]
    assert [row["true"] for row in read(tmp_path / f"p{ending}")] == expected


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_what_was_there_stays_where_the_rows_break_off(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"p{ending}"
    path.write_text("before")

    def broken() -> Any:
        yield ROWS[0]
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        write_rows(path, broken(), LABELS)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_another_ending_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"rows are written to .csv, .jsonl, .parquet"):
        write_rows(tmp_path / "p.xlsx", ROWS, LABELS)


def test_parquet_without_pyarrow_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConvsmithError, match="a Parquet file needs the package `pyarrow`") as error:
        write_rows(tmp_path / "p.parquet", ROWS, LABELS)
    assert "parquet]" in error.value.fix


def test_a_folder_that_is_not_there_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"p\.csv cannot be written"):
        write_rows(tmp_path / "none" / "p.csv", ROWS, LABELS)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for colour in ("red", "blue"):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        (tmp_path / "photos" / colour / "a.png").write_bytes(picture(colour))
    (tmp_path / "photos" / "red" / "b.png").write_bytes(picture("blue"))
    (tmp_path / "photos" / "red" / "bad.png").write_bytes(b"")
    return tmp_path / "photos"


def test_evaluate_writes_a_row_for_each_image_that_was_judged(
    colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    cs.evaluate(colour_bundle, photos, out=tmp_path / "p.csv")
    rows = {Path(row["name"]).relative_to(photos).as_posix(): row for row in from_csv(tmp_path / "p.csv")}
    assert rows.keys() == {"red/a.png", "red/b.png", "blue/a.png"}
    wrong = rows["red/b.png"]
    assert (wrong["true"], wrong["predicted"], wrong["right"]) == ("red", "blue", "false")
    assert float(wrong["score blue"]) > 0.9
    assert (wrong["width"], wrong["height"]) == ("20", "16")


def test_evaluate_refuses_a_file_among_the_images_before_it_judges(colour_bundle: Path, photos: Path) -> None:
    for out in (photos / "p.csv", photos / "red" / "p.jsonl"):
        with pytest.raises(ConvsmithError, match="lies in the data that are judged"):
            cs.evaluate(colour_bundle, photos, out=out)


def test_evaluate_does_not_write_over_the_table_of_the_data(colour_bundle: Path, photos: Path) -> None:
    table = photos / "labels.csv"
    table.write_text("image,label\nred/a.png,red\nblue/a.png,blue\n")
    with pytest.raises(ConvsmithError, match="lies in the data that are judged"):
        cs.evaluate(colour_bundle, table, out=table)
    cs.evaluate(colour_bundle, table, out=photos / "p.csv")
    assert len(from_csv(photos / "p.csv")) == 2
