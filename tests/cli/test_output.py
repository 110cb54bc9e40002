"""The output of commands: in any encoding, at any width, with every figure in full."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from convsmith.cli.main import main
from convsmith.tables import add_figures, add_names, fits, new_table, print_table
from tests.colours import LABELS, colour_model, picture, write_colour_bundle

NAMES = ("été", "猫", *(f"a class with quite a long name {number}" for number in range(8)))
ENCODINGS = ["ascii", "latin-1", "cp437", "utf-8"]


def printed(monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: str | Path) -> str:
    """What a command writes to a standard output of that encoding, as somebody with that encoding sees it."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == 0
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images of the first class, of which two are answered, and one of each other."""
    folder = tmp_path_factory.mktemp("photos")
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(picture("red"))
    (folder / NAMES[0] / "b.png").write_bytes(picture("red"))
    (folder / NAMES[0] / "c.png").write_bytes(picture("blue"))
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of ten classes, whose first three are the strongest colour."""
    return write_colour_bundle(
        tmp_path_factory.mktemp("bundle") / "ten", colour_model(len(NAMES)), labels=(*NAMES[:3], *NAMES[3:])
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("columns", ["80", None], ids=["80 columns", "no terminal"])
def test_evaluate_prints_every_figure_in_any_encoding(
    bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    shown = printed(monkeypatch, encoding, "evaluate", bundle, "--data", photos)
    assert "top-1 16.67%" in shown
    assert "66.67%" in shown
    assert shown.count("0.00%") == 3 * (len(NAMES) - 1)  # of right, precision and F1
    assert "…" not in shown
    assert "\\u2026" not in shown


def test_at_80_columns_what_does_not_fit_of_the_confusion_is_left_out_and_said(
    bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = printed(monkeypatch, "utf-8", "evaluate", bundle, "--data", photos).splitlines()
    left_out = int(lines[-2].removeprefix("What the bundle says has ").split()[0])
    assert 0 < left_out < len(NAMES)
    assert max(map(len, lines)) <= 80


def test_where_there_is_no_terminal_the_confusion_is_whole_and_no_name_is_folded(
    bundle: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = printed(monkeypatch, "utf-8", "evaluate", bundle, "--data", photos)
    assert all(shown.count(name) == 2 for name in NAMES)
    assert "more columns" not in shown


@pytest.mark.parametrize("columns", ["80", "20"])
def test_masks_keep_their_figures_at_any_width(
    pixel_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    from tests.stripes import write_stripes

    monkeypatch.setenv("COLUMNS", columns)
    data = write_stripes(tmp_path, "val", [("red", "red", "blue"), ("blue", "red", "red")])
    shown = printed(monkeypatch, "ascii", "evaluate", pixel_bundle, "--data", data)
    assert all(figure in shown for figure in ("66.67%", "33.33%", "100.00%"))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "*"),
        ("weights", "*"),
        ("weights", "*", "--json"),
        ("recipes",),
        ("recipes", "show", "resnest50-in1k"),
    ],
    ids=" ".join,
)
def test_lists_are_printed_in_any_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = printed(monkeypatch, encoding, *arguments)
    assert "…" not in shown
    assert "\\u2026" not in shown
    if "--json" in arguments:
        assert json.loads(shown)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("form", ["table", "jsonl", "csv"])
def test_predict_prints_names_of_any_script_in_any_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, form: str
) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", labels=("猫", "été", "blue"))
    (tmp_path / "猫.png").write_bytes(picture("red"))
    assert "png" in printed(monkeypatch, encoding, "predict", bundle, tmp_path / "猫.png", "--format", form)


def test_in_a_c_locale_without_utf_8_mode_nothing_ends_in_a_traceback(bundle: Path, photos: Path) -> None:
    c_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "convsmith.cli.main", "evaluate", str(bundle), "--data", str(photos)]
    result = subprocess.run(command, capture_output=True, check=False, env=os.environ | c_locale)
    assert result.returncode == 0, result.stderr
    assert b"\\xe9t\\xe9" in result.stdout or "été".encode() in result.stdout
    assert b"66.67%" in result.stdout


def test_a_label_that_is_no_text_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit):
        main(["--version"])
    print("bad \udcff")
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue().endswith(b"bad \\udcff\n")


def test_a_table_folds_names_and_never_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = new_table()
    add_names(table, "name")
    add_figures(table, "figure")
    table.add_row("a-name-that-is-longer-than-ten", "123,456,789.00")
    monkeypatch.setenv("COLUMNS", "10")
    print_table(table)
    shown = capsys.readouterr().out
    assert "123,456,789.00" in shown
    assert "".join(line[:9].strip() for line in shown.splitlines()[3:]) == "a-name-that-is-longer-than-ten"
    assert not fits(table)


def test_a_table_fits_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = new_table()
    add_names(table, *LABELS * 50)
    assert fits(table)
