"""A run that trains nothing: weights that somebody else trained become a bundle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import convsmith as cs
from convsmith.analyze.lr_finder import find_lr
from convsmith.models.registry import create_trained_model
from convsmith.training.observers.base import Observer, Record
from tests.training.conftest import SMALL
from tests.training.tiny_model import TinyNet

pytestmark = pytest.mark.usefixtures("tiny")

NO_EPOCHS = (*SMALL, "model.name=tiny", "schedule.epochs=0")
RESNET = "model.name=cifar_resnet20"


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that tell four classes apart."""
    torch.manual_seed(3)
    file = tmp_path_factory.mktemp("weights") / "official.pth"
    torch.save(TinyNet(num_classes=4).state_dict(), file)
    return file


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a network that is published, and large enough to become smaller as INT8."""
    file = tmp_path_factory.mktemp("weights") / "resnet.pth"
    torch.save(cs.create_model("cifar_resnet20", num_classes=4).state_dict(), file)
    return file


def keeping(weights: Path, *words: str) -> cs.Recipe:
    return cs.load_recipe("digits", [*NO_EPOCHS, f"model.weights={weights}", *words])


class Killer(Observer):
    """Nothing is saved when it passes."""

    def metrics(self, record: Record) -> None:
        raise KeyboardInterrupt


def test_the_bundle_has_the_weights_that_were_started_from(official: Path, digits: Path, tmp_path: Path) -> None:
    recipe = keeping(official, "precision=fp32")
    run = cs.train(recipe, digits, tmp_path / "run")
    model = create_trained_model("tiny", 4, official).eval()
    image = digits / "val/2/12.png"
    pixels = torch.from_numpy(cs.load(run.bundle).preprocess(image))[None]
    mean, std = (torch.tensor(v)[:, None, None] for v in (recipe.preprocess.mean, recipe.preprocess.std))
    with torch.no_grad():
        logits = model((pixels / 255 - mean) / std)[0]
    bundle: cs.Bundle[cs.Classification] = cs.load(run.bundle)
    assert bundle.predict(image).logits == pytest.approx(logits.numpy(), abs=1e-4)


def test_they_are_evaluated_once(official: Path, digits: Path, tmp_path: Path) -> None:
    run = cs.train(keeping(official), digits, tmp_path / "run")
    before = run.bundle.stat().st_mtime_ns
    assert [(record["split"], record["epoch"], record["step"]) for record in run.metrics] == [("val", 0, 0)]
    assert json.loads((run.bundle / "bundle.json").read_text())["metrics"]["top1"] == run.metrics[0]["top1"]
    again = cs.train(keeping(official), digits, tmp_path / "run")
    assert (len(again.metrics), again.bundle.stat().st_mtime_ns) == (1, before)


def test_they_are_not_taken_for_others_of_their_name(official: Path, digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(official.read_bytes())
    cs.train(keeping(file), digits, tmp_path / "run")
    torch.save({name: tensor + 1 for name, tensor in torch.load(official).items()}, file)
    with pytest.raises(cs.ConvsmithError, match=r"model\.weights are not those that this run began with"):
        cs.train(keeping(file), digits, tmp_path / "run")


def test_a_run_that_was_killed_before_is_gone_on_with(official: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cs.train(keeping(official), digits, tmp_path / "run", observers=[Killer()])
    run = cs.train(keeping(official), digits, tmp_path / "run")
    assert run.bundle.exists()
    assert len(run.metrics) == 1


def test_without_validation_they_are_packed_as_they_are(official: Path, digits: Path, tmp_path: Path) -> None:
    run = cs.train(keeping(official, "eval=false", "ema={decay: 0.9}"), digits, tmp_path / "run")
    assert run.metrics == []
    assert cs.load(run.bundle).labels == ("0", "1", "2", "3")


def test_it_is_quantized_like_any_other_run(resnet: Path, digits: Path, tmp_path: Path) -> None:
    run = cs.train(keeping(resnet, RESNET), digits, tmp_path / "run")
    report = cs.quantize(run.path, digits, tmp_path / "int8", max_drop=100)
    assert report.int8_model.bytes < report.float_model.bytes


def test_random_weights_are_no_result(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"schedule\.epochs is 0 and model\.weights null"):
        cs.train(cs.load_recipe("digits", NO_EPOCHS), digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nor_is_a_random_head(digits: Path, tmp_path: Path) -> None:
    file = tmp_path / "ten.pth"
    torch.save(TinyNet(num_classes=10).state_dict(), file)
    with pytest.raises(cs.ConvsmithError, match="gives `tiny` no head for num_classes=4"):
        cs.train(keeping(file), digits, tmp_path / "run")


def test_a_range_test_needs_steps(official: Path, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"schedule\.epochs is 0, so there is no step to take"):
        find_lr(keeping(official), digits, tmp_path / "test")
    assert not (tmp_path / "test").exists()


def test_batches_of_one_image_are_planned_without_asking_whether_they_could_be_learned_from() -> None:
    words = [
        "model.name=convnext_tiny",
        "augment.random_crop.size=32",
        "batch.size=1",
        "model.drop_path={start: 0, end: 0.1}",
        "preprocess={resize: 32, crop: 32}",
    ]
    assert cs.plan(cs.load_recipe("digits", [*NO_EPOCHS, *words]), num_samples=8).total_steps == 0


def test_published_weights_that_were_measured_otherwise_are_told(
    resnet: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("convsmith.models.registry.resolve", lambda *_: resnet)
    recipe = keeping(Path("cifar_resnet20.akamaster"), RESNET)
    cs.train(recipe, digits, tmp_path / "run")
    assert "cifar_resnet20.akamaster was measured with another `preprocess` than the recipe's" in caplog.text
