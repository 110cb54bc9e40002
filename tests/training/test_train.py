"""The whole training, through the public interface."""

from __future__ import annotations

import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.devices import ACCELERATORS
from convsmith.training.observers.base import Observer
from tests.forked import CONTEXT
from tests.training.conftest import SMALL
from tests.training.ranks import run_ranks

pytestmark = pytest.mark.usefixtures("tiny")

WORDS = (*SMALL, "model.name=tiny")


@pytest.fixture(scope="module")
def run(tiny: None, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(cs.load_recipe("digits", WORDS), digits, tmp_path_factory.mktemp("runs") / "run")


def test_a_run_holds_everything_that_the_design_names(run: cs.Run) -> None:
    names = {path.name for path in run.path.iterdir() if not path.name.startswith(".")}
    written = {"recipe.yaml", "plan.json", "metrics.jsonl", "log.txt", "data_check.npz", "validation.json"}
    assert names == {*written, "tensorboard", "checkpoints", "bundle"}


@pytest.mark.usefixtures("unpacked")
def test_what_a_device_does_not_compute_alike_each_time_is_said_before_the_first_step(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ACCELERATORS, "cpu", replace(ACCELERATORS["cpu"], varies="this or that may differ"))
    cs.train(cs.load_recipe("digits", [*WORDS, "schedule.epochs=1"]), digits, tmp_path / "run")
    log = (tmp_path / "run/log.txt").read_text()
    assert log.partition("step 0 of")[0].count("on cpu, this or that may differ") == 1


def test_the_last_and_the_best_checkpoint_are_links_to_steps(run: cs.Run) -> None:
    assert (run.checkpoints / "last").resolve().name == "step-00000018"
    best = json.loads((run.checkpoints / "best" / "state.json").read_text())
    assert best["best_step"] == best["step"]


def test_the_saved_recipe_is_the_one_trained_with_the_classes_of_the_data(run: cs.Run) -> None:
    assert run.recipe.model.num_classes == 4
    assert run.recipe.batch.size == 8


def test_the_saved_plan_is_that_of_the_public_function(run: cs.Run) -> None:
    assert run.plan == cs.plan(run.recipe, num_samples=48).to_dict()


def test_each_epoch_leaves_one_line_for_each_split(run: cs.Run) -> None:
    lines = [(line["step"], line["epoch"], line["split"]) for line in run.metrics]
    assert lines == [(6 * e, e, split) for e in (1, 2, 3) for split in ("train", "val")]
    assert all(line["loss"] > 0 for line in run.metrics)


def test_tensorboard_can_read_the_curves(run: cs.Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("val/top1")] == [6, 12, 18]


def test_tensorboard_can_read_the_first_augmented_batch(run: cs.Run) -> None:
    import io

    from PIL import Image
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    (shown,) = events.Images("train/first_batch")
    with Image.open(io.BytesIO(shown.encoded_image_string)) as grid:
        assert (grid.width, grid.height) == (8 * 16, 16)  # the eight images of a batch in a row


def test_evaluate_gives_to_the_last_image_the_accuracy_that_training_reported(run: cs.Run, digits: Path) -> None:
    evaluation = cs.evaluate(run.bundle, digits)
    reported = cs.load(run.bundle).manifest.metrics
    assert evaluation.images == 20
    assert evaluation.top1 == reported["top1"] == max(line["top1"] for line in run.metrics if line["split"] == "val")
    assert evaluation.loss == pytest.approx(reported["loss"], rel=1e-5)
    assert sum(map(sum, evaluation.confusion)) == 20


def test_the_bundle_carries_labels_preprocessing_and_its_proof(run: cs.Run) -> None:
    manifest = cs.load(run.bundle).manifest
    assert manifest.labels == ("0", "1", "2", "3")
    assert manifest.preprocess == run.recipe.preprocess
    assert manifest.parity["images"] == 20
    assert manifest.parity["top1_agreement"] == 1.0


def test_training_a_finished_run_again_changes_nothing(run: cs.Run, digits: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*.safetensors")}
    before[run.bundle / "model.onnx"] = (run.bundle / "model.onnx").stat().st_mtime_ns
    lines = run.metrics
    cs.train(cs.load_recipe("digits", WORDS), digits, run.path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert run.metrics == lines


def test_a_bundle_that_was_lost_is_made_again_without_training(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    copy = cs.Run(shutil.copytree(run.path, tmp_path / "copy", symlinks=True))
    shutil.rmtree(copy.bundle)
    cs.train(cs.load_recipe("digits", WORDS), digits, copy.path)
    assert cs.load(copy.bundle).manifest.metrics == cs.load(run.bundle).manifest.metrics


@pytest.mark.parametrize("damage", ["model.onnx", "bundle.json"])
def test_a_bundle_that_is_damaged_is_made_again_without_training(
    damage: str, run: cs.Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[Path] = []
    monkeypatch.setattr("convsmith.training.train.pack", lambda session: packed.append(session.run.bundle))
    copy = cs.Run(shutil.copytree(run.path, tmp_path / "copy", symlinks=True))
    content = (copy.bundle / damage).read_bytes()
    (copy.bundle / damage).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    cs.train(cs.load_recipe("digits", WORDS), digits, copy.path)
    assert packed == [copy.bundle]
    assert "is packed again" in (copy.path / "log.txt").read_text()


def test_another_recipe_in_the_directory_of_a_run_is_an_error_that_says_what_can_be_done(
    run: cs.Run, digits: Path
) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"finished run of another recipe: these keys differ: ") as caught:
        cs.train(cs.load_recipe("digits", [*WORDS, "optimizer.lr=0.5", "schedule.epochs=9"]), digits, run.path)
    assert caught.value.why == "these keys differ: optimizer.lr, schedule.epochs"
    assert f"--out: with --finetune {run.path}" in caught.value.fix
    assert "optimizer.lr=0.02 schedule.epochs=3" in caught.value.fix


def test_a_run_goes_on_with_another_compile(run: cs.Run, digits: Path) -> None:
    cs.train(cs.load_recipe("digits", [*WORDS, "compile=false"]), digits, run.path)
    assert run.recipe.compile is False


def test_a_run_does_not_go_on_with_other_data(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    other = shutil.copytree(digits, tmp_path / "other")
    (other / "train" / "0" / "00.png").rename(other / "train" / "0" / "renamed.png")
    with pytest.raises(cs.ConvsmithError, match="does not hold the data that this run began with"):
        cs.train(cs.load_recipe("digits", WORDS), other, run.path)


def test_resume_never_refuses_a_directory_that_holds_a_run(run: cs.Run, digits: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="holds a run already"):
        cs.train(cs.load_recipe("digits", WORDS), digits, run.path, resume="never")


def hold(run: Path, held: Path) -> None:
    with cs.Run(run).lock():
        held.touch()
        signal.pause()


def test_a_directory_in_use_is_not_trained_into_twice(digits: Path, tmp_path: Path) -> None:
    holder = CONTEXT.Process(target=hold, args=(tmp_path / "run", tmp_path / "held"))
    holder.start()
    while not (tmp_path / "held").exists():
        assert holder.is_alive()
        time.sleep(0.01)
    with pytest.raises(cs.ConvsmithError, match="another process is training"):
        cs.train(cs.load_recipe("digits", WORDS), digits, tmp_path / "run")
    holder.kill()
    holder.join()


def take(run: Path) -> None:
    with cs.Run(run).lock():
        pass


@pytest.mark.usefixtures("unpacked")
def test_a_directory_in_use_is_not_trained_into_twice_after_a_checkpoint_either(digits: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    class Second(Observer):
        """Somebody gives the same command once more."""

        def progress(self, phase: str, done: int, total: int) -> None:
            if phase == "train" and done == 4 * 8:
                refused.extend(run_ranks(1, take, tmp_path / "run"))

    recipe = cs.load_recipe("digits", [*WORDS, "checkpoint.every_steps=2"])
    cs.train(recipe, digits, tmp_path / "run", observers=[Second()])
    assert "another process is training into" in refused[0]


def test_a_run_that_another_process_has_taken_over_writes_no_more(digits: Path, tmp_path: Path) -> None:
    class TakeOver(Observer):
        """Another machine does, in whose file system this one's lock does not count."""

        def progress(self, phase: str, done: int, total: int) -> None:
            if phase == "train" and done == 9 * 8:
                (tmp_path / "run" / ".holder").write_text("process 1 of another machine")

    recipe = cs.load_recipe("digits", [*WORDS, "checkpoint.every_steps=2"])
    with pytest.raises(cs.ConvsmithError, match=r"training into .* now: process 1 of another machine"):
        cs.train(recipe, digits, tmp_path / "run", observers=[TakeOver()])
    assert max((tmp_path / "run").glob("checkpoints/step-*")).name == "step-00000008"


def test_a_recipe_for_another_number_of_classes_is_an_error(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"model.num_classes=10, but .* has 4 classes"):
        cs.train(cs.load_recipe("digits"), digits, tmp_path / "run")


def test_a_run_directory_that_cannot_be_written_is_an_error(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(cs.ConvsmithError, match="cannot be written"):
        cs.train(cs.load_recipe("digits", WORDS), digits, tmp_path / "file" / "run")


def test_evaluate_on_a_folder_that_training_split_judges_only_the_held_out_images(digits: Path, tmp_path: Path) -> None:
    data = shutil.copytree(digits / "train", tmp_path / "data")
    recipe = cs.load_recipe(
        "digits", [*WORDS, "schedule.epochs=1", "schedule.warmup_epochs=0", "data.val_fraction=0.25"]
    )
    run = cs.train(recipe, data, tmp_path / "run")
    evaluation = cs.evaluate(run.bundle, data)
    assert (evaluation.images, evaluation.held_out) == (12, True)
    assert evaluation.top1 == run.metrics[-1]["top1"]
    (data / "0" / "00.png").unlink()
    other = cs.evaluate(run.bundle, data)
    assert (other.images, other.held_out) == (47, False)


def test_a_run_that_lost_its_checkpoints_is_not_trained_over(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    copy = cs.Run(shutil.copytree(run.path, tmp_path / "copy", symlinks=True))
    shutil.rmtree(copy.checkpoints)
    with pytest.raises(cs.ConvsmithError, match="holds a bundle, but no checkpoints"):
        cs.train(cs.load_recipe("digits", WORDS), digits, copy.path)


def test_files_of_the_user_in_the_run_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env.local").write_text("mine")
    with cs.Run(tmp_path).lock():
        pass
    assert (tmp_path / ".env.local").read_text() == "mine"
