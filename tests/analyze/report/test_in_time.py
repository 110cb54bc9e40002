"""What the images for validation tell at the end of a training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convsmith.analyze.report.facts import Facts
from convsmith.analyze.report.in_time import with_images
from convsmith.data.open_data import data_of_bundle
from convsmith.deploy.format import open_bundle
from convsmith.training.run import Run

FACTS = Facts("t", "run", "p", "classification", "top1", commands=("convsmith report",))


@pytest.fixture
def run(bundle: Path, tmp_path: Path) -> Run:
    """A directory with that bundle."""
    shutil.copytree(bundle, tmp_path / "run" / "bundle")
    return Run(tmp_path / "run")


def test_figures_are_of_the_images_that_the_training_held_out(run: Run, photos: Path) -> None:
    dataset = data_of_bundle(open_bundle(run.bundle).manifest, photos)
    found = with_images(FACTS, run, dataset, 600.0)
    assert found.judged is not None
    assert found.judged.evaluation.images == len(dataset.val) > 0
    assert found.judged.evaluation.held_out
    assert found.sample is None


def test_where_the_data_are_not_known_nothing_is_judged(run: Run) -> None:
    assert with_images(FACTS, run, None, 600.0) == FACTS
