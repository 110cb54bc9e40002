"""Answers to many images in one file, however often the process is killed."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import convsmith as cs
from convsmith.bundle.predictor import load
from convsmith.data.folders.image_list import ImageList, list_images
from convsmith.jobs import answered
from convsmith.jobs.predict_into import Predicted
from convsmith.system import lock
from tests.colours import picture, write_colour_bundle
from tests.data.shards import tar
from tests.forked import run_python

COUNT, BATCH = 46, 4
COLOURS = ("red", "lime", "blue")
ENDINGS = (".csv", ".jsonl", ".parquet")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three colours in turn; each seventh, from the first on, cannot be read."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(COUNT):
        (folder / f"{i:02}.png").write_bytes(picture(COLOURS[i % 3]) if i % 7 else b"bad")
    return folder


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answered, "_IMAGES", 2 * BATCH)


def labels(out: Path) -> list[tuple[str, str | None]]:
    """The name of the file and the label of each row, None where it has an error."""
    rows = [{key: row.get(key) or None for key in ("path", "label", "error")} for row in _rows(out)]
    assert all((row["label"] is None) != (row["error"] is None) for row in rows)
    return [(Path(str(row["path"])).name, row["label"]) for row in rows]


def _rows(out: Path) -> list[dict[str, Any]]:
    if out.suffix == ".csv":
        return list(csv.DictReader(out.open(encoding="utf-8", newline="")))
    if out.suffix == ".jsonl":
        return [json.loads(line) for line in out.read_text().splitlines()]
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    return rows


EXPECTED = [(f"{i:02}.png", ("red", "green", "blue")[i % 3] if i % 7 else None) for i in range(COUNT)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_each_image_has_its_row_in_order_and_a_bad_one_its_error(
    colour_bundle: Path, photos: Path, tmp_path: Path, ending: str
) -> None:
    written = cs.predict_into(colour_bundle, photos, tmp_path / f"p{ending}", batch_size=BATCH)
    assert written == Predicted(images=COUNT, bad=7)
    assert labels(tmp_path / f"p{ending}") == EXPECTED
    assert [path.name for path in tmp_path.iterdir()] == [f"p{ending}"]


def test_csv_has_the_columns_of_the_records(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", top=2)
    records = cs.predict(colour_bundle, photos, top=2).records()
    with (tmp_path / "p.csv").open(newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == ["path", *list(records[0])[1:]]
    scores = [None if row[4] == "" else float(row[4]) for row in found[1:]]
    assert scores == [record["score"] for record in records]


def test_parquet_has_types_and_says_which_bundle_answered(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    cs.predict_into(colour_bundle, photos, tmp_path / "p.parquet")
    schema = parquet.read_schema(tmp_path / "p.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("path", "string"), ("rank", "int64"), ("class_id", "int64"), ("label", "string"), ("score", "double"),
        ("error", "string"),
    ]  # fmt: skip
    facts = json.loads(schema.metadata[b"convsmith"])
    assert facts["bundle"] == load(colour_bundle).manifest.checksum
    assert (facts["runtime"], facts["device"]) == ("onnxruntime", "cpu")


@pytest.mark.parametrize("ending", ENDINGS)
def test_areas_of_masks_are_rows(pixel_bundle: Path, photos: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"p{ending}"
    cs.predict_into(pixel_bundle, [photos / "01.png", photos / "02.png"], out)
    (row, _) = _rows(out)
    area = row["classes"][0] if ending == ".jsonl" else row
    assert (area["label"], float(area["share"])) == ("green", 1.0)


def test_the_answers_are_those_to_the_images_one_by_one(tmp_path: Path, colour_bundle: Path) -> None:
    for i in range(20):
        noise = np.random.RandomState(i).randint(0, 256, (9, 11, 3), np.uint8)
        np.save(tmp_path / f"{i:02}.npy", noise)
    paths = sorted(tmp_path.glob("*.npy"))
    cs.predict_into(colour_bundle, paths, tmp_path / "p.jsonl", batch_size=7)
    bundle: cs.Bundle[cs.Classification] = load(colour_bundle)
    alone = [bundle.predict(path).score for path in paths]
    assert [row["score"] for row in _rows(tmp_path / "p.jsonl")] == alone


def test_tables_and_shards_follow_each_other(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"image\n{photos}/04.png\n{photos}/gone.png\n{photos}/04.png\n")
    (tmp_path / "s.tar").write_bytes(tar({"x.png": picture("blue")}))
    cs.predict_into(colour_bundle, [photos / "01.png", tmp_path / "t.csv", tmp_path / "s.tar"], tmp_path / "p.csv")
    found = labels(tmp_path / "p.csv")
    assert found == [("01.png", "green"), ("04.png", "green"), ("gone.png", None), ("04.png", "green"),
                     ("s.tar: x.png", "blue")]  # fmt: skip


def test_a_name_that_is_no_text_is_written_as_escapes(colour_bundle: Path, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(path).write_bytes(picture("red"))
    for ending in ENDINGS:
        cs.predict_into(colour_bundle, path, tmp_path / f"p{ending}")
    assert _rows(tmp_path / "p.csv")[0]["path"] == _rows(tmp_path / "p.parquet")[0]["path"]
    assert _rows(tmp_path / "p.jsonl")[0]["path"] == path


def test_how_many_are_done_is_reported_with_how_many_there_are(
    colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    told: list[tuple[str, int, int | None]] = []
    cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", progress=lambda *it: told.append(it))
    assert list(dict.fromkeys(told)) == [("predict", done, COUNT) for done in range(COUNT + 1)]


class Ended(BaseException):
    """Stands for whatever ends a process."""


def end_after(images: int) -> Callable[..., None]:
    def progress(_what: str, done: int, _total: int | None) -> None:
        if done >= images:
            raise Ended

    return progress


def begin(bundle: Path, photos: Path, out: Path, **options: Any) -> None:
    """Answer some of the images."""
    with pytest.raises(Ended):
        cs.predict_into(bundle, photos, out, batch_size=BATCH, progress=end_after(20), **options)


def test_the_same_call_goes_on_behind_the_last_part(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()
    told: list[int] = []
    cs.predict_into(
        colour_bundle, photos, tmp_path / "p.csv", batch_size=BATCH, progress=lambda _, done, __: told.append(done)
    )
    assert told[0] == 4 * BATCH
    assert labels(tmp_path / "p.csv") == EXPECTED


def test_bad_images_before_the_end_are_counted(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    assert cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", batch_size=BATCH) == Predicted(COUNT, 7)


def test_a_part_that_was_removed_is_made_anew_with_those_behind_it(
    colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    min((tmp_path / "p.csv.parts").glob("0*")).unlink()
    cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", batch_size=BATCH)
    assert labels(tmp_path / "p.csv") == EXPECTED


def test_another_list_of_images_is_refused(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    some = sorted(photos.iterdir())[1:]
    with pytest.raises(cs.ConvsmithError, match=f"images: {COUNT} before, {COUNT - 1} now; list of images"):
        cs.predict_into(colour_bundle, some, tmp_path / "p.csv", batch_size=BATCH)
    with pytest.raises(cs.ConvsmithError, match="list of images"):
        cs.predict_into(colour_bundle, [*some, photos / "00.png"], tmp_path / "p.csv", batch_size=BATCH)


@pytest.mark.parametrize(
    ("changes", "expected"), [({"top": 2}, "top: None before, 2 now"), ({"batch_size": 8}, "images in a batch: 4 befo")]
)
def test_other_options_are_refused(
    colour_bundle: Path, photos: Path, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    with pytest.raises(cs.ConvsmithError, match=expected):
        cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", **{"batch_size": BATCH, **changes})


def test_another_bundle_is_refused_and_the_folder_named(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    other = write_colour_bundle(tmp_path / "other", labels=("r", "g", "b"))
    with pytest.raises(cs.ConvsmithError, match="bundle: ") as caught:
        cs.predict_into(other, photos, tmp_path / "p.csv", batch_size=BATCH)
    assert f"delete {tmp_path / 'p.csv.parts'} to begin anew" in caught.value.fix


def test_a_second_process_is_refused_while_one_writes(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    begin(colour_bundle, photos, tmp_path / "p.csv")
    with (tmp_path / "p.csv.parts/lock").open("w") as file:
        assert lock(file.fileno())
        with pytest.raises(cs.ConvsmithError, match="another process writes"):
            cs.predict_into(colour_bundle, photos, tmp_path / "p.csv", batch_size=BATCH)


@pytest.mark.parametrize("name", ["p.txt", "p"])
def test_a_file_of_another_kind_is_refused(colour_bundle: Path, photos: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(cs.ConvsmithError, match="does not say what to write"):
        cs.predict_into(colour_bundle, photos, tmp_path / name)


def test_what_was_there_stays_until_all_rows_are_written(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("before")
    begin(colour_bundle, photos, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == "before"


def test_a_slow_model_has_parts_of_fewer_images(
    colour_bundle: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answered, "_IMAGES", 10_000)
    monkeypatch.setattr(answered, "_SECONDS", 0.0)
    begin(colour_bundle, photos, tmp_path / "p.csv")
    assert len(list((tmp_path / "p.csv.parts").glob("0*"))) == 20 // BATCH - 1


KILLED = """
import os, shutil, signal
from pathlib import Path
import convsmith as cs
from convsmith.jobs import answered

left = int(os.environ["STEPS"])
def counted(call):
    def wrapped(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)
    return wrapped

for owner, names in ((Path, ("replace", "mkdir")), (os, ("fsync", "unlink", "rmdir"))):  # all that changes the disk
    for name in names:
        setattr(owner, name, counted(getattr(owner, name)))
answered._IMAGES = 16
cs.predict_into(os.environ["BUNDLE"], os.environ["PHOTOS"], os.environ["OUT"], batch_size=4)
"""


def killed_at(step: int, bundle: Path, photos: Path, out: Path) -> bool:
    """Run until that step of the file system, and whether it came to it."""
    place = {"BUNDLE": str(bundle), "PHOTOS": str(photos), "OUT": str(out)}
    ended = run_python(KILLED, {"STEPS": str(step), **place})
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


def test_a_process_that_is_killed_again_and_again_gives_each_row_once(
    colour_bundle: Path, photos: Path, tmp_path: Path
) -> None:
    for step in (9, 3):  # two parts are written, and then the third
        assert killed_at(step, colour_bundle, photos, tmp_path / "p.parquet")
    assert not killed_at(0, colour_bundle, photos, tmp_path / "p.parquet")
    assert labels(tmp_path / "p.parquet") == EXPECTED
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


@pytest.mark.slow
def test_a_process_may_be_killed_at_every_step(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    step, was_killed = 0, True
    while was_killed:
        step += 1
        out = tmp_path / str(step) / "p.parquet"
        was_killed = killed_at(step, colour_bundle, photos, out)
        assert not killed_at(0, colour_bundle, photos, out)
        assert labels(out) == EXPECTED
        assert [path.name for path in out.parent.iterdir()] == [out.name]
    assert step > 20


COMMAND = """
import sys
from convsmith.jobs import answered
answered._IMAGES = 256
from convsmith.cli.main import main
sys.argv[0] = "convsmith"
main()
"""


@pytest.mark.slow
def test_the_command_is_killed_from_outside_at_random_times(colour_bundle: Path, photos: Path, tmp_path: Path) -> None:
    draw, images = random.Random(0), [f"{photos}/{i % COUNT:02}.png" for i in range(3000)]
    (tmp_path / "t.csv").write_text("\n".join(["image", *images]) + "\n")
    command = [sys.executable, "-c", COMMAND, "predict", str(colour_bundle), str(tmp_path / "t.csv")]
    out, ended = tmp_path / "p.jsonl", list[int]()
    while -signal.SIGKILL in ended[-1:] or not ended:
        before = len(list(tmp_path.glob("*.parts/*")))
        with subprocess.Popen([*command, "--out", str(out)], stdout=subprocess.DEVNULL) as run:
            while len(list(tmp_path.glob("*.parts/*"))) <= before and run.poll() is None:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 1) if ended else 0)
            run.kill()
        ended.append(run.returncode)
    assert len(ended) > 1
    assert ended[-1] == 1  # some images are bad
    assert labels(out) == [EXPECTED[i % COUNT] for i in range(3000)]


def test_a_long_list_is_packed(tmp_path: Path) -> None:
    names = [f"{i:06}.png" for i in range(50)]
    (tmp_path / "t.csv").write_text("\n".join(["image", *names]) + "\n")
    images = list_images(tmp_path / "t.csv")
    assert len(images) == 50
    assert [Path(name).name for name, _ in images.since(48)] == names[48:]


def test_an_image_on_standard_input_is_one_of_the_list() -> None:
    images, other = (ImageList([("-", content), ("a.png", Path("a.png"))]) for content in (b"1", b"2"))
    (name, read), (second, _) = images.since(0)
    assert callable(read)
    assert (name, read(), second) == ("-", b"1", "a.png")
    assert images.digest() != other.digest()
