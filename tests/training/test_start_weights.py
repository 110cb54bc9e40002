"""Fine-tuning: which weights a training starts from, and what a linear probe leaves alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

import convsmith as cs
from convsmith.cli.main import app
from convsmith.models.weights.class_names import classes_of
from convsmith.storage import sealed
from convsmith.training.model_plan import build_model
from tests.colours import LABELS, write_colour_bundle
from tests.training.conftest import SMALL
from tests.training.tiny_model import TinyNet, name_tiny

TINY = (*SMALL, "model.name=tiny", "schedule.epochs=1", "schedule.warmup_epochs=0", "batch.per_device=4")


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny(monkeypatch)


@pytest.fixture
def _no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a training the export."""
    monkeypatch.setattr("convsmith.deploy.bundle.make_bundle", lambda *args, **kwargs: None)


@pytest.fixture(scope="module")
def taught(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an average."""
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        patch.setattr("convsmith.deploy.bundle.make_bundle", lambda *args, **kwargs: None)
        return cs.train(cs.load_recipe("digits", [*TINY, "ema.decay=0.5"]), digits, tmp_path_factory.mktemp("run")).path


def started(*overrides: str) -> dict[str, Tensor]:
    """The weights that a training on four classes starts from."""
    recipe = cs.load_recipe("digits", [*TINY, "model.num_classes=4", *overrides])
    return build_model(recipe, recipe.model.weights).state_dict()


def assert_equal(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


def test_a_run_stands_for_the_weights_that_it_judged(taught: Path) -> None:
    averaged = load_file(taught / "checkpoints/best/ema.safetensors")
    for place in (taught, taught / "checkpoints/best", taught / "checkpoints/best/ema.safetensors"):
        assert_equal(started(f"model.weights={place}"), averaged)


def change_weights(run: Path) -> None:
    file = run / "checkpoints/best/ema.safetensors"
    save_file({name: value + 1 for name, value in load_file(file).items()}, file)


@pytest.fixture
def begun(taught: Path, digits: Path, tmp_path: Path, _no_bundle: None) -> tuple[Path, cs.Run]:
    """A run, and one that was trained from its weights."""
    shutil.copytree(taught, tmp_path / "taught", symlinks=True)
    recipe = cs.load_recipe("digits", [*TINY, f"model.weights={tmp_path / 'taught'}"])
    return tmp_path / "taught", cs.train(recipe, digits, tmp_path / "run")


def test_a_run_does_not_go_on_beside_weights_that_have_changed(begun: tuple[Path, cs.Run], digits: Path) -> None:
    source, run = begun
    change_weights(source)
    with pytest.raises(cs.ConvsmithError, match=r"model\.weights are not those that this run began with"):
        cs.train(run.recipe, digits, run.path)


def test_a_run_goes_on_without_the_weights_it_began_with(begun: tuple[Path, cs.Run], digits: Path) -> None:
    source, run = begun
    shutil.rmtree(source)
    cs.train(run.recipe, digits, run.path)


def test_a_run_that_never_noted_its_weights_goes_on(begun: tuple[Path, cs.Run], digits: Path) -> None:
    source, run = begun
    state = run.checkpoints / "best" / "state.json"
    values = json.loads(state.read_text())
    del values["start_digest"], values["checksum"]
    state.write_text(json.dumps(sealed(values)))
    change_weights(source)
    cs.train(run.recipe, digits, run.path)


def test_the_trained_weights_of_a_run_are_had_by_their_key(taught: Path) -> None:
    trained = load_file(taught / "checkpoints/best/model.safetensors")
    assert_equal(started(f"model.weights={taught}", "model.weights_key=model"), trained)


def test_a_run_without_an_average_has_no_ema(taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught / "checkpoints/best", tmp_path / "step")
    (tmp_path / "step/ema.safetensors").unlink()
    with pytest.raises(cs.ConvsmithError, match=r"this run has no ema\nSet model.weights_key=model"):
        started(f"model.weights={tmp_path / 'step'}", "model.weights_key=ema")


def test_a_directory_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match="neither the directory of a run"):
        started(f"model.weights={tmp_path}")


def test_a_bundle_says_to_name_its_run(tmp_path: Path) -> None:
    write_colour_bundle(tmp_path / "run" / "bundle")
    with pytest.raises(cs.ConvsmithError, match=r"is a bundle: .*\nName the run that it is from"):
        started(f"model.weights={tmp_path / 'run' / 'bundle'}")
    (tmp_path / "run" / "checkpoints").mkdir()
    with pytest.raises(cs.ConvsmithError, match=f"\nName its run: {tmp_path}/run$"):
        started(f"model.weights={tmp_path / 'run' / 'bundle'}")


def test_a_folder_with_a_file_of_weights_says_to_name_the_file(tmp_path: Path) -> None:
    save_file(TinyNet(4).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(cs.ConvsmithError, match=r"is a folder\nName the file in it: .*/model\.safetensors"):
        started(f"model.weights={tmp_path}")


def test_a_checkpoint_of_several_state_dicts_is_read_by_key(tmp_path: Path) -> None:
    model, average = TinyNet(4).state_dict(), TinyNet(4).state_dict()
    torch.save({"model": model, "model_ema": average}, tmp_path / "official.pth")
    place = f"model.weights={tmp_path / 'official.pth'}"
    assert_equal(started(place), model)
    assert_equal(started(place, "model.weights_key=model_ema"), average)


@pytest.mark.usefixtures("_no_bundle")
def test_other_classes_get_a_new_head_and_the_log_says_so(
    taught: Path, digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for digit in "01":
        shutil.copytree(digits / "train" / digit, tmp_path / "two" / digit)
    recipe = cs.load_recipe("digits", [*TINY, f"model.weights={taught}", "freeze.names=backbone"])
    run = cs.train(recipe, tmp_path / "two", tmp_path / "run")
    assert "the head (head.bias, head.weight) is for 4 classes, the model has 2" in caplog.text
    found = load_file(run.checkpoints / "last/model.safetensors")
    before = load_file(taught / "checkpoints/best/ema.safetensors")
    assert found["head.weight"].shape == (2, 8)
    assert_equal(*({n: v for n, v in state.items() if not n.startswith("head")} for state in (found, before)))


def with_classes(taught: Path, run: Path, classes: list[str]) -> Path:
    """The run, whose best step says that its logits are these."""
    shutil.copytree(taught, run, symlinks=True)
    state = run / "checkpoints/best/state.json"
    values = json.loads(state.read_text())
    del values["checksum"]
    state.write_text(json.dumps(sealed({**values, "classes": classes})))
    return run


DIGITS = ("0", "1", "2", "3")


def began(weights: Path, *overrides: str) -> dict[str, Tensor]:
    recipe = cs.load_recipe("digits", [*TINY, "model.num_classes=4", f"model.weights={weights}", *overrides])
    return build_model(recipe, str(weights), DIGITS).state_dict()


def test_a_checkpoint_says_what_it_tells_apart(taught: Path) -> None:
    assert classes_of(taught / "checkpoints/best/ema.safetensors") == DIGITS
    assert classes_of(taught / "checkpoints/last/model.safetensors") == DIGITS


def test_of_an_older_run_its_bundle_does(taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught, tmp_path / "run", symlinks=True)
    write_colour_bundle(tmp_path / "run" / "bundle")
    state = tmp_path / "run/checkpoints/best/state.json"
    values = json.loads(state.read_text())
    del values["classes"]
    state.write_text(json.dumps(values))
    assert classes_of(tmp_path / "run/checkpoints/best/ema.safetensors") == LABELS


@pytest.mark.parametrize(
    ("place", "file"),
    [
        ("", "ema"),
        ("checkpoints/best", "ema"),
        ("checkpoints/best/ema.safetensors", "ema"),
        ("checkpoints/best/model.safetensors", "model"),
    ],
)
def test_the_same_classes_in_another_order_keep_their_rows(taught: Path, tmp_path: Path, place: str, file: str) -> None:
    run = with_classes(taught, tmp_path / "run", ["3", "1", "0", "2"])
    after = began(run / place)
    for name, value in load_file(taught / f"checkpoints/best/{file}.safetensors").items():
        assert torch.equal(after[name], value[[2, 1, 3, 0]] if name.startswith("head.") else value)


def test_other_classes_of_the_same_number_get_a_new_head(
    taught: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = with_classes(taught, tmp_path / "run", ["m-0", "a-1", "z-2", "k-3"])
    before, after = load_file(run / "checkpoints/best/ema.safetensors"), began(run)
    assert {name for name in before if not torch.equal(after[name], before[name])} == {"head.weight", "head.bias"}
    assert (
        "the head is for other classes (m-0, a-1, z-2, ...), the model has 0, 1, 2, ...; the model keeps its"
        in caplog.text
    )


def test_a_run_without_steps_refuses_other_classes_of_the_same_number(taught: Path, tmp_path: Path) -> None:
    run = with_classes(taught, tmp_path / "run", ["m-0", "a-1", "z-2", "k-3"])
    with pytest.raises(
        cs.ConvsmithError, match=r"gives no head for the classes 0, 1, 2, \.\.\.: its own is for m-0, a-1"
    ):
        began(run, "schedule.epochs=0")
    assert_equal(began(taught, "schedule.epochs=0"), load_file(taught / "checkpoints/best/ema.safetensors"))


@pytest.mark.usefixtures("_no_bundle")
def test_folders_that_were_renamed_get_a_new_head(
    taught: Path, digits: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("train", "val"):
        for old, new in zip(DIGITS, ("m-0", "a-1", "z-2", "k-3"), strict=True):
            shutil.copytree(digits / part / old, tmp_path / "data" / part / new)
    cs.train(cs.load_recipe("digits", [*TINY, f"model.weights={taught}"]), tmp_path / "data", tmp_path / "run")
    assert "the head is for other classes (0, 1, 2, ...), the model has a-1, k-3, m-0, ..." in caplog.text
    with pytest.raises(cs.ConvsmithError, match="gives no head for the classes a-1, k-3"):
        cs.train(
            cs.load_recipe("digits", [*TINY, "schedule.epochs=0", f"model.weights={taught}"]),
            tmp_path / "data",
            tmp_path / "kept",
        )


@pytest.mark.usefixtures("_no_bundle")
def test_a_linear_probe_moves_the_head_alone_and_keeps_statistics(taught: Path, digits: Path, tmp_path: Path) -> None:
    probe = ["freeze.names=backbone", "ema={decay: 0.5, judge: model}", "schedule.epochs=2"]
    run = cs.train(cs.load_recipe("digits", [*TINY, f"model.weights={taught}", *probe]), digits, tmp_path / "run")
    before = load_file(taught / "checkpoints/best/ema.safetensors")
    for name in ("model", "ema"):
        after = load_file(run.checkpoints / "last" / f"{name}.safetensors")
        assert {key for key in after if not torch.equal(after[key], before[key])} == {"head.weight", "head.bias"}
    optimizer = load_file(run.checkpoints / "last/optimizer.safetensors")
    assert {key.rpartition("/")[0] for key in optimizer} == {"head.weight", "head.bias"}


@pytest.mark.usefixtures("_no_bundle")
def test_images_may_be_larger_than_those_of_the_weights(taught: Path, digits: Path, tmp_path: Path) -> None:
    larger = ["augment.random_crop.size=24", "preprocess.resize=24", "preprocess.crop=24"]
    recipe = cs.load_recipe("digits", [*TINY, *larger, f"model.weights={taught}"])
    run = cs.train(recipe, digits, tmp_path / "run")
    assert run.metrics[-1]["split"] == "val"
    assert run.recipe.input_size == (24, 24)


def test_the_command_finetunes_and_shares_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[cs.Recipe, bool]] = []

    def note(recipe: cs.Recipe, data: Path, out: Path, shard: bool, **_: object) -> cs.Run:
        asked.append((recipe, shard))
        out.mkdir(parents=True)
        return cs.Run(out)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convsmith.training.train.train", note)
    save_file(TinyNet(4).state_dict(), tmp_path / "a=b #1.safetensors")
    place = str(tmp_path / "a=b #1.safetensors")
    done = CliRunner().invoke(
        app,
        ["train", "digits", "--data", str(tmp_path), "--finetune", place, "--shard", "model.weights_key=teacher"],
    )
    assert done.exit_code == 0, done.output
    ((recipe, shard),) = asked
    assert (recipe.model.weights, recipe.model.weights_key, shard) == (place, "teacher", True)


def test_without_validation_all_images_are_trained_on_and_the_last_weights_shipped(
    digits: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits / "train", tmp_path / "data")
    recipe = cs.load_recipe("digits", [*TINY, "eval=false", "schedule.epochs=2", "ema.decay=0.5"])
    run = cs.train(recipe, tmp_path / "data", tmp_path / "run")
    assert run.plan["num_samples"] == 48
    assert [(line["epoch"], line["split"]) for line in run.metrics] == [(1, "train"), (2, "train")]
    assert (run.checkpoints / "best").resolve() == (run.checkpoints / "last").resolve()
    manifest = cs.load(run.bundle).manifest
    assert manifest.metrics == {}
    assert manifest.parity["images"] == 48
    assert cs.train(recipe, tmp_path / "data", run.path).metrics == run.metrics
