from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image

import convsmith as cs
from convsmith.data.checks.check import BadFile
from convsmith.training.bad_files import BadFiles, most_bad
from convsmith.training.run import differences
from tests.training.conftest import SMALL

pytestmark = pytest.mark.usefixtures("tiny")

WORDS = (*SMALL, "model.name=tiny")


@pytest.fixture
def data(digits: Path, tmp_path: Path) -> Path:
    """One of the 48 training images is torn."""
    root = shutil.copytree(digits, tmp_path / "data")
    broken = root / "train" / "1" / "03.png"
    broken.write_bytes(broken.read_bytes()[:40])
    return root


def with_many_good_images(root: Path) -> None:
    image = Image.new("RGB", (8, 8), "grey")
    for i in range(60):
        image.save(root / "train" / "2" / f"more{i}.png")


def test_a_bad_file_is_named_before_the_first_step(data: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"1 of 68 images cannot be used:\n.*train/1/03.png"):
        cs.train(cs.load_recipe("digits", WORDS), data, tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.usefixtures("unpacked")
def test_skip_lists_the_bad_file_in_the_run_directory_and_trains_on(data: Path, tmp_path: Path) -> None:
    with_many_good_images(data)
    recipe = cs.load_recipe("digits", [*WORDS, "data.on_error=skip", "schedule.epochs=1", "schedule.warmup_epochs=0"])
    run = cs.train(recipe, data, tmp_path / "run")
    (line,) = (run.path / "bad_files.txt").read_text().splitlines()
    assert line.startswith(str(data / "train" / "1" / "03.png\t"))
    assert run.metrics[-1]["epoch"] == 1


def test_following_the_advice_to_skip_goes_on_in_the_same_directory(data: Path, tmp_path: Path) -> None:
    with_many_good_images(data)
    one_epoch = [*WORDS, "schedule.epochs=1", "schedule.warmup_epochs=0"]
    with pytest.raises(cs.ConvsmithError, match=r"set data.on_error=skip"):
        cs.train(cs.load_recipe("digits", one_epoch), data, tmp_path / "run")
    run = cs.train(cs.load_recipe("digits", [*one_epoch, "data.on_error=skip"]), data, tmp_path / "run")
    assert run.bundle.exists()


def test_files_found_again_after_the_data_moved_count_once(tmp_path: Path) -> None:
    known: dict[str, str] = {}
    for root in ("here", "there"):
        bad_files = BadFiles(tmp_path / "bad_files.txt", tmp_path / root, num_images=100, allowed=3)
        bad_files.add([BadFile(str(tmp_path / root / "train/1/03.png"), "torn")], known)
    assert known == {"train/1/03.png": "torn"}


def test_a_validation_split_without_one_readable_image_is_an_error(digits: Path, tmp_path: Path) -> None:
    data = shutil.copytree(digits, tmp_path / "data")
    for path in data.glob("val/*/*"):
        path.write_bytes(b"")
    with pytest.raises(cs.ConvsmithError, match="none of the 20 images of `val`"):
        cs.train(cs.load_recipe("digits", [*WORDS, "data.on_error=skip"]), data, tmp_path / "run")


@pytest.mark.parametrize(
    ("given", "images", "allowed"),
    [("null", 61, 3), ("null", 1000, 10), ("0", 1000, 0), ("7", 20, 7), ("0.29", 100, 29), ("0.0", 9, 0)],
)
def test_so_many_may_be_bad(given: str, images: int, allowed: int) -> None:
    assert most_bad(cs.load_recipe("digits", ["data.on_error=skip", f"data.max_bad={given}"]).data, images) == allowed


def test_more_bad_files_than_allowed_stop_the_run_without_a_word_of_skipping(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"(?s)1 of 68 images.*train/1/03.png.*set data.max_bad=1"):
        cs.train(cs.load_recipe("digits", [*WORDS, "data.on_error=skip", "data.max_bad=0"]), data, tmp_path / "run")
    assert "left out" not in caplog.text


def test_a_run_goes_on_with_other_rules_for_bad_files() -> None:
    words = (["data.on_error=error"], ["data.max_bad=2", "data.on_error=skip"])
    old, new = (cs.load_recipe("digits", overrides).model_dump() for overrides in words)
    assert differences(old, new) == []


def test_skip_leaves_a_bad_validation_image_out_of_the_figures(digits: Path, tmp_path: Path) -> None:
    data = shutil.copytree(digits, tmp_path / "data")
    with_many_good_images(data)
    (data / "val" / "0" / "13.png").write_bytes(b"")
    recipe = cs.load_recipe("digits", [*WORDS, "data.on_error=skip", "schedule.epochs=1", "schedule.warmup_epochs=0"])
    run = cs.train(recipe, data, tmp_path / "run")
    reported = run.metrics[-1]["top1"] * 19
    assert reported == pytest.approx(round(reported))
    assert cs.evaluate(run.bundle, data).top1 == run.metrics[-1]["top1"]


def test_what_is_known_already_is_not_written_or_said_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known: dict[str, str] = {}
    bad_files = BadFiles(tmp_path / "bad_files.txt", tmp_path, num_images=100, allowed=3)
    bad_files.merge({"a.png": "torn"}, known)
    (tmp_path / "bad_files.txt").unlink()
    bad_files.merge({"a.png": "torn"}, known)
    bad_files.merge({}, known)
    assert not (tmp_path / "bad_files.txt").exists()
    assert len(caplog.messages) == 1
    bad_files.merge({"b.png": "torn"}, known)
    assert (tmp_path / "bad_files.txt").read_text() == f"{tmp_path}/a.png\ttorn\n{tmp_path}/b.png\ttorn\n"


def test_only_one_process_writes_the_list(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    BadFiles(tmp_path / "bad_files.txt", tmp_path, 100, 3, writes=False).merge({"a.png": "torn"}, {})
    assert list(tmp_path.iterdir()) == []
    assert not caplog.messages


@pytest.mark.parametrize(("allowed", "is_error"), [(2, False), (1, True)])
def test_as_many_as_are_allowed_may_be_bad(tmp_path: Path, allowed: int, is_error: bool) -> None:
    bad_files = BadFiles(tmp_path / "bad_files.txt", tmp_path, 100, allowed)
    with pytest.raises(cs.ConvsmithError, match="2 of 100 images cannot be used") if is_error else nullcontext():
        bad_files.merge({"a.png": "torn", "b.png": "torn"}, {})
