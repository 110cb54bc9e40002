from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convsmith.analyze.report.facts import Facts, JudgedFacts
from convsmith.analyze.report.make_report import write_report
from convsmith.bundle.figures.classification_evaluation import ClassificationEvaluation
from convsmith.bundle.figures.evaluation import Evaluation
from convsmith.bundle.task import find_task


def write_simulated(out: Path, classes: int, images: int) -> None:
    """The report of a classifier whose logits are noise on what is true, and on a class that is like it."""
    random, task = np.random.default_rng(0), find_task("classification")
    results = ClassificationEvaluation()
    for first in range(0, images, 1000):
        targets = np.arange(first, min(first + 1000, images)) % classes
        logits = random.normal(size=(len(targets), classes)).astype(np.float32)
        rows = np.arange(len(targets))
        logits[rows, targets] += 4
        logits[rows, (targets * 7 + 3) % classes] += 2.5
        results.update(logits, targets)
    labels = tuple(f"class {k}" for k in range(classes))
    confusion = tuple(map(tuple, results.confusion_matrix(classes).tolist()))
    evaluation = Evaluation(
        images=images,
        held_out=True,
        is_part=True,
        figures=task.figures(results),
        labels=labels,
        classes=results.by_class(classes),
        confusion=confusion,
        unreadable=(),
        intervals=results.intervals(),
    )
    judged = JudgedFacts(evaluation, results.charts())
    facts = Facts("simulated", "bundle", "nowhere", "classification", "top1", labels=labels, judged=judged)
    write_report(facts, out)


@pytest.mark.slow
def test_the_report_of_a_thousand_classes_and_fifty_thousand_images_stays_small(tmp_path: Path) -> None:
    write_simulated(tmp_path / "report.html", 1000, 50_000)
    assert (tmp_path / "report.html").stat().st_size < 5_000_000
    assert 'width="1000" height="1000"' in (tmp_path / "report.html").read_text("utf-8")


def test_every_class_has_its_row_and_what_is_said_instead(tmp_path: Path) -> None:
    write_simulated(tmp_path / "report.html", 60, 1200)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert all(f'<th scope="row">class {k}</th>' in page for k in range(60))
    assert "class 10 (" in page  # of class 1
