"""convsmith predict, as a person or a script runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.words import for_terminal
from tests.colours import LABELS, picture, write_colour_bundle
from tests.forked import run_command


def run(*arguments: str | bytes | Path, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """The command; in a new interpreter where that is to have another environment, or standard input."""
    if not options.keys() & {"env", "input"}:
        return run_command("predict", *arguments, **options)
    return subprocess.run(
        [sys.executable, "-m", "convsmith.cli.main", "predict", *arguments], capture_output=True, check=False, **options
    )


def predicted(*arguments: str | bytes | Path, **options: Any) -> list[tuple[str, str]]:
    """Path and label of each prediction; all must be well."""
    result = run(*arguments, "--format", "jsonl", **options)
    assert (result.returncode, result.stderr) == (0, b"")
    return [(entry["path"], entry["label"]) for entry in map(json.loads, result.stdout.splitlines())]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    (folder / "b.png").write_bytes(picture("blue"))
    (folder / "a.JPG").write_bytes(picture("red", "JPEG"))
    (folder / "inner" / "c.webp").write_bytes(picture("lime", "WEBP"))
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_files_are_predicted_in_the_order_given(colour_bundle: Path, photos: Path) -> None:
    files = [photos / "b.png", photos / "a.JPG"]
    assert predicted(colour_bundle, *files) == [(str(files[0]), "blue"), (str(files[1]), "red")]


def test_an_image_without_a_finite_answer_is_one_line_and_the_others_are_predicted(
    bundle_without_answer_on_white: Path, photos: Path
) -> None:
    (photos / "white.png").write_bytes(picture("white"))
    result = run(bundle_without_answer_on_white, photos, "--format", "jsonl", cwd=photos.parent)
    assert result.returncode == 1
    assert result.stderr.decode() == f"error: {photos}/white.png: its logits are not finite numbers\n"
    answered = [Path(json.loads(line)["path"]).name for line in result.stdout.splitlines()]
    assert answered == ["a.JPG", "b.png", "c.webp"]


def test_a_folder_gives_its_images_at_any_depth_by_name(colour_bundle: Path, photos: Path) -> None:
    expected = [("a.JPG", "red"), ("b.png", "blue"), ("inner/c.webp", "green")]
    assert predicted(colour_bundle, photos) == [(str(photos / name), label) for name, label in expected]


@pytest.mark.parametrize(
    ("pattern", "names"), [("*.png", ["b.png"]), ("**/*.webp", ["inner/c.webp"]), ("[ab].*", ["a.JPG", "b.png"])]
)
def test_a_pattern_that_the_shell_left_is_expanded(
    colour_bundle: Path, photos: Path, pattern: str, names: list[str]
) -> None:
    assert [path for path, _ in predicted(colour_bundle, pattern, cwd=photos)] == names


def test_a_file_that_looks_like_a_pattern_is_a_file(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "[1].png").write_bytes(picture("red"))
    assert predicted(colour_bundle, tmp_path / "[1].png") == [(str(tmp_path / "[1].png"), "red")]


def test_a_named_file_needs_no_image_suffix(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "photo").write_bytes(picture("red"))
    assert predicted(colour_bundle, tmp_path / "photo") == [(str(tmp_path / "photo"), "red")]


def test_a_dash_reads_one_image_from_standard_input(colour_bundle: Path, photos: Path) -> None:
    assert predicted(colour_bundle, "-", photos / "a.JPG", input=picture("blue")) == [
        ("-", "blue"),
        (str(photos / "a.JPG"), "red"),
    ]


def test_a_link_in_a_circle_ends(colour_bundle: Path, photos: Path) -> None:
    (photos / "inner" / "up").symlink_to(photos)
    assert len(predicted(colour_bundle, photos)) == 3


def test_a_bad_file_is_one_line_on_stderr_and_the_others_are_predicted(colour_bundle: Path, photos: Path) -> None:
    (photos / "aa.png").write_bytes(picture("red")[:40])
    (photos / "z.gif").write_bytes(b"")
    result = run(colour_bundle, photos, "--json")
    assert result.returncode == 1
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()] == ["red", "blue", "green"]
    errors = result.stderr.decode().splitlines()
    assert len(errors) == 2
    assert errors[0].startswith(f"error: {photos / 'aa.png'}: ")
    assert errors[1] == f"error: {photos / 'z.gif'}: it is empty"


def test_what_helps_is_on_the_line_of_a_bad_file(colour_bundle: Path, photos: Path) -> None:
    Image.fromarray(np.full((8, 8), 4095, np.uint16)).save(photos / "scan.png")
    (line,) = run(colour_bundle, photos).stderr.decode().splitlines()
    assert "it has 16 bits" in line
    assert "write 8 bits, as `gdal_translate" in line


def test_a_missing_file_is_an_error_and_the_others_are_predicted(colour_bundle: Path, photos: Path) -> None:
    result = run(colour_bundle, "gone.png", photos / "b.png", "--json")
    assert (result.returncode, result.stdout.count(b"\n")) == (1, 1)
    assert result.stderr == b"error: gone.png: no such file or directory\n"


def test_what_systems_and_convsmith_write_into_a_folder_is_not_predicted(colour_bundle: Path, photos: Path) -> None:
    wanted = predicted(colour_bundle, photos)
    for name in ("._b.png", ".hidden/b.png", "__MACOSX/b.png"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"no image")
    assert predicted(colour_bundle, photos) == wanted
    for name in ("@eaDir/b.png", "predictions/a.png", "predictions/a.overlay.jpg", "predictions/a.json"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(picture("red"))
    result = run(colour_bundle, photos, "--format", "csv")
    assert result.returncode == 0
    assert [row["path"] for row in csv.DictReader(io.StringIO(result.stdout.decode()))] == [path for path, _ in wanted]
    assert result.stderr.decode().splitlines() == [
        f"left out: {photos}/@eaDir, which a system wrote",
        f"left out: {photos}/predictions, which convsmith wrote",
    ]


def test_a_pattern_leaves_hidden_files_out(colour_bundle: Path, photos: Path) -> None:
    for name in ("inner/._c.webp", "inner/@eaDir/c.webp"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_bytes(b"no image")
    found = [path for path, _ in predicted(colour_bundle, f"{photos}/**/*.webp")]
    assert found == [str(photos / "inner" / "c.webp")]
    assert [path for path, _ in predicted(colour_bundle, f"{photos}/inner/*c.webp")] == found
    assert [path for path, _ in predicted(colour_bundle, f"{photos}/inner/[._c]*.webp")] == found


def test_a_folder_without_images_is_named_with_what_it_holds(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "1.CR2").write_bytes(b"raw")
    result = run(colour_bundle, tmp_path)
    assert result.stderr.decode() == f"error: {tmp_path}: no image in this folder, but 1 .cr2\n"


@pytest.mark.parametrize(("argument", "reason"), [("empty", "no image in this folder"), ("*.xyz", "no file matches")])
def test_finding_no_image_is_an_error(colour_bundle: Path, tmp_path: Path, argument: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    result = run(colour_bundle, argument, cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.decode() == f"error: {argument}: {reason}\n"


def test_a_folder_that_is_no_bundle_is_an_error_of_two_lines(tmp_path: Path) -> None:
    result = run(tmp_path, "a.png")
    assert result.returncode == 2
    assert result.stdout == b""
    assert len(result.stderr.splitlines()) == 2


NAMES = ["猫.png", "été.png", "a b.png", 'q"uote,.png', "new\nline.png", "\u202eabc.png", "x" * 200 + ".png"]


@pytest.mark.parametrize("output", ["table", "jsonl", "csv"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_of_any_script_are_printed_in_any_locale(
    colour_bundle: Path, tmp_path: Path, output: str, locale: str
) -> None:
    for name in NAMES:
        (tmp_path / name).write_bytes(picture("red"))
    environment = {**os.environ, "LC_ALL": locale, "PYTHONIOENCODING": "ascii"}
    result = run(colour_bundle, tmp_path, "--format", output, env=environment)
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    if output == "jsonl":
        names = [json.loads(line)["path"] for line in text.splitlines()]
    elif output == "csv":
        names = [row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))]
    else:
        names = [line.split("red", 1)[1].strip() for line in text.splitlines()[1:]]
        assert names == [for_terminal(str(tmp_path / name)) for name in sorted(NAMES)]
        return
    assert names == [str(tmp_path / name) for name in sorted(NAMES)]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse names that are no text")
def test_a_name_that_is_no_text_survives_byte_for_byte(colour_bundle: Path, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9\xff.png"
    Path(os.fsdecode(name)).write_bytes(picture("red"))
    assert name in run(colour_bundle, name, "--format", "csv").stdout
    assert name in run(colour_bundle, name).stdout
    assert os.fsencode(predicted(colour_bundle, name)[0][0]) == name


def test_a_bad_file_with_a_strange_name_is_still_one_line(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "a\nerror: \x1b[31m.png").write_bytes(b"x")
    result = run(colour_bundle, tmp_path)
    assert len(result.stderr.splitlines()) == 1
    assert b"\x1b" not in result.stderr


def test_the_table_names_score_label_and_image(colour_bundle: Path, photos: Path) -> None:
    lines = run(colour_bundle, photos / "b.png").stdout.decode().splitlines()
    assert lines[0].split() == ["SCORE", "LABEL", "IMAGE"]
    assert lines[1].split() == ["100.00%", "blue", str(photos / "b.png")]


def test_top_lists_so_many_classes_of_each_image(colour_bundle: Path, photos: Path) -> None:
    assert len(run(colour_bundle, photos / "b.png", "--top", "2").stdout.splitlines()) == 3
    result = run(colour_bundle, photos / "b.png", "--top", "3", "--json")
    assert {entry["label"] for entry in json.loads(result.stdout)["top"]} == set(LABELS)


def test_csv_has_a_row_for_each_rank(colour_bundle: Path, photos: Path) -> None:
    output = run(colour_bundle, photos / "b.png", "--top", "2", "--format", "csv").stdout.decode()
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [(row["path"], row["rank"]) for row in rows] == [(str(photos / "b.png"), "1"), (str(photos / "b.png"), "2")]
    assert (rows[0]["class_id"], rows[0]["label"]) == ("2", "blue")
    assert float(rows[0]["score"]) > float(rows[1]["score"])


def test_labels_are_kept_on_one_line_of_the_table(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", labels=("two\nlines", "猫", "x" * 90))
    (tmp_path / "a.png").write_bytes(picture("red"))
    lines = run(bundle, tmp_path / "a.png", "--top", "3").stdout.decode().splitlines()
    assert len(lines) == 4
    assert "two\\nlines" in lines[1]
    assert "x" * 90 in lines[2] + lines[3]


def test_json_and_another_format_exclude_each_other(colour_bundle: Path, photos: Path) -> None:
    result = run(colour_bundle, photos, "--json", "--format", "csv")
    assert result.returncode == 2
    assert b"exclude each other" in result.stderr


def test_a_reader_that_stops_early_is_no_traceback(colour_bundle: Path, photos: Path) -> None:
    for i in range(3000):
        os.link(photos / "b.png", photos / f"{i}.png")
    command = [sys.executable, "-m", "convsmith.cli.main", "predict", str(colour_bundle), str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


def test_a_pipe_in_a_folder_is_named_and_the_others_are_predicted(colour_bundle: Path, photos: Path) -> None:
    os.mkfifo(photos / "pipe.png")
    result = run(colour_bundle, photos, "--format", "jsonl")
    assert result.returncode == 1
    assert result.stderr.decode() == f"error: {photos / 'pipe.png'}: it is a pipe, a socket or a device\n"
    assert len(result.stdout.splitlines()) == 3


def test_a_pipe_that_is_asked_for_is_read(colour_bundle: Path) -> None:
    script = 'exec "$0" -m convsmith.cli.main predict "$1" <(cat) --format jsonl'
    words = ["bash", "-c", script, sys.executable, str(colour_bundle)]
    result = subprocess.run(words, input=picture("red"), capture_output=True, check=True)
    assert json.loads(result.stdout)["label"] == "red"


def test_a_pipe_that_nothing_comes_from_is_given_up(colour_bundle: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = run(colour_bundle, tmp_path / "pipe", env={**os.environ, "CONVSMITH_READ_TIMEOUT": "0.3"})
    assert result.returncode == 3
    assert result.stderr.decode().startswith(f"error: {tmp_path / 'pipe'} has not answered for 0.3 seconds: ")


def test_nothing_but_predictions_goes_to_stdout_and_no_progress_to_a_pipe(colour_bundle: Path, photos: Path) -> None:
    result = run(colour_bundle, photos, "--format", "csv")
    assert result.stderr == b""
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="it needs a pseudo-terminal")
def test_progress_goes_to_a_terminal_on_stderr(colour_bundle: Path, photos: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "convsmith.cli.main", "predict", str(colour_bundle), str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        output = process.communicate()[0]
        shown = os.read(ours, 65536)
    os.close(ours)
    assert b"images: 3" in shown
    assert len(output.splitlines()) == 4


def test_a_table_is_predicted_row_by_row(colour_bundle: Path, photos: Path) -> None:
    (photos / "new.csv").write_text("photo\nb.png\ninner/c.webp\n")
    found = predicted(colour_bundle, photos / "new.csv")
    assert found == [(str(photos / "b.png"), "blue"), (str(photos / "inner" / "c.webp"), "green")]


def test_rows_go_into_a_file_with_the_errors_in_them(colour_bundle: Path, photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"x")
    result = run(colour_bundle, photos, "--out", photos / "rows" / "p.csv")
    assert (result.returncode, result.stdout.decode()) == (
        1, f"{photos}/rows/p.csv: 4 images, 1 of them with an error\n",
    )  # fmt: skip
    rows = list(csv.DictReader(io.StringIO((photos / "rows" / "p.csv").read_text())))
    assert [row["label"] for row in rows] == ["red", "blue", "", "green"]
    assert "its head is damaged" in rows[2]["error"]


def test_what_was_written_is_an_object_for_programs(colour_bundle: Path, photos: Path) -> None:
    result = run(colour_bundle, photos, "gone/", "--out", photos / "p.jsonl", "--json")
    assert (result.returncode, json.loads(result.stdout)) == (
        1, {"images": 4, "bad": 1, "out": str(photos / "p.jsonl")},
    )  # fmt: skip


def test_a_file_is_not_written_where_there_are_no_images(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run(colour_bundle, tmp_path / "empty", "--out", tmp_path / "p.csv")
    assert (result.returncode, result.stdout) == (1, b"")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("new.csv", "--out", "new.csv"), "new.csv is read as well"),
        (("b.png", "--out", "p.csv", "--format", "jsonl"), "exclude each other"),
        (("b.png", "--out", "folder"), "folder does not say what to write"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    colour_bundle: Path, photos: Path, words: tuple[str, ...], expected: str
) -> None:
    (photos / "new.csv").write_text("photo\nb.png\n")
    result = run(colour_bundle, *words, cwd=photos)
    assert (result.returncode, result.stdout) == (2, b"")
    assert expected in result.stderr.decode()
