"""Two processes whose epochs are judged in bf16 as long as much training lies ahead."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

import convsmith as cs
from convsmith.models import registry
from convsmith.training import judging_precision, validation
from convsmith.training.evaluation import evaluate
from convsmith.training.parts import Parts
from convsmith.training.run import Run
from convsmith.training.train import train
from tests.training.ranks import TINY, run_ranks
from tests.training.tiny_model import TinyNet

pytestmark = pytest.mark.slow
EPOCHS = 8
FAST = ("precision=bf16", "eval_precision=fast", f"schedule.epochs={EPOCHS}")


def train_and_pack(data: Path, out: Path) -> list[str]:
    """Train the tiny network, as if each step that is left were half an hour; the arithmetic of each validation."""
    registry._builders()["tiny"] = TinyNet
    found: list[str] = []

    def noted(parts: Parts, *given: object, **more: object) -> object:
        found.append(parts.eval_precision)
        return evaluate(parts, *given, **more)  # type: ignore[arg-type]

    with mock.patch.object(judging_precision, "AHEAD", 1e-12), mock.patch.object(validation, "evaluate", noted):
        train(cs.load_recipe("digits", (*TINY, *FAST)), data, out)
    return found


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    out = tmp_path_factory.mktemp("runs") / "fast"
    return out, run_ranks(2, train_and_pack, digits, out)


def test_all_but_the_last_and_the_best_are_judged_in_bf16_by_both(trained: tuple[Path, list[list[str]]]) -> None:
    assert trained[1] == [["bf16"] * (EPOCHS - 1) + ["fp32"] * 2] * 2


def test_the_packed_model_has_the_figures_of_float32(digits: Path, trained: tuple[Path, list[list[str]]]) -> None:
    bundle = Run(trained[0]).bundle
    stated, measured = cs.load(bundle).manifest.metrics, cs.evaluate(bundle, digits).figures
    assert stated["top1"] == measured["top1"]
    assert stated["loss"] == pytest.approx(measured["loss"], rel=1e-5)
