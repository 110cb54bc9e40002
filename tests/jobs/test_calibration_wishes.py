"""What can be asked of a calibration, at the fewest images that can tell it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convsmith.analyze.unknown import Costs
from convsmith.errors import ConvsmithError
from convsmith.jobs import calibrate as module
from convsmith.jobs.calibrate import Wanted, _dealt, _Evidence, _look


def bundle(says_sets: bool = True, says_unknown: bool = True) -> Any:
    task = SimpleNamespace(says_sets=says_sets, says_unknown=says_unknown)
    return SimpleNamespace(task=task, manifest=SimpleNamespace(task="classification"), labels=("a", "b", "c"))


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 1.5])
@pytest.mark.parametrize("name", ["coverage", "precision"])
def test_a_share_lies_between_0_and_1(name: str, share: float) -> None:
    with pytest.raises(ConvsmithError, match=f"the {name} is {share:g}: it is a share between 0 and 1"):
        Wanted(**{name: share})  # type: ignore[arg-type]


def test_a_precision_and_costs_exclude_each_other() -> None:
    with pytest.raises(ConvsmithError, match="exclude each other"):
        Wanted(precision=0.5, costs=Costs(1.0, 0.5))
    Wanted(coverage=0.5, costs=Costs(1.0, 0.5))


@pytest.mark.parametrize(
    ("wanted", "fewest", "parts"),
    [
        (Wanted(), 2, 2),
        (Wanted(costs=Costs(1.0, 0.5)), 2, 2),
        (Wanted(coverage=0.9), 27, 3),
        (Wanted(precision=0.5), 15, 3),
        (Wanted(coverage=0.9, precision=0.5), 27, 3),
        (Wanted(coverage=0.5, precision=0.5), 15, 3),
    ],
)
def test_each_part_has_as_many_images_as_can_tell(wanted: Wanted, fewest: int, parts: int) -> None:
    assert len(wanted.parts) == parts
    wanted.check(bundle(), fewest)
    with pytest.raises(ConvsmithError) as caught:
        wanted.check(bundle(), fewest - 1)
    assert caught.value.why.startswith(f"{parts} parts are made of them, and each needs {fewest // parts} image")


@pytest.mark.parametrize(
    ("wanted", "lacks", "problem"),
    [
        (Wanted(coverage=0.5), "says_sets", "a bundle of classification says no sets"),
        (Wanted(precision=0.5), "says_unknown", "says no single class that might be unknown"),
        (Wanted(costs=Costs(1.0, 0.5)), "says_unknown", "says no single class that might be unknown"),
    ],
)
def test_what_the_task_does_not_say_is_refused(wanted: Wanted, lacks: str, problem: str) -> None:
    with pytest.raises(ConvsmithError, match=problem):
        wanted.check(bundle(**{lacks: False}), 1000)
    other = "says_unknown" if lacks == "says_sets" else "says_sets"
    wanted.check(bundle(**{other: False}), 1000)


@pytest.mark.parametrize("parts", [2, 3])
def test_images_of_each_class_are_shared_out_evenly(parts: int) -> None:
    targets = np.random.RandomState(0).randint(0, 4, 101)
    dealt = _dealt(targets, parts)
    assert np.array_equal(dealt, _dealt(targets, parts))
    for target in range(4):
        counts = np.bincount(dealt[targets == target], minlength=parts)
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(dealt, minlength=parts)
    assert counts.max() - counts.min() <= 1


def evidence(fewest: int, classes: list[int]) -> _Evidence:
    truth = np.eye(3, dtype=bool)[classes]
    parts = np.zeros(len(classes), np.int64)
    return _Evidence(np.zeros(truth.shape, np.float32), truth, parts, {"scaling": 500, "kept_back": fewest})


@pytest.mark.parametrize(
    ("fewest", "classes", "said"),
    [
        (100, [0, 1, 2], []),
        (99, [0, 1, 2], ["99 images for the figures of both: what they say of others is hardly known"]),
        (100, [0, 2], ["no image has the classes `b`: nothing is promised for these"]),
    ],
)
def test_little_evidence_is_warned_of(
    fewest: int, classes: list[int], said: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        _look(bundle(), evidence(fewest, classes))
    assert [record.getMessage() for record in caplog.records] == said


def test_a_part_has_its_own_rows() -> None:
    logits = np.arange(9, dtype=np.float32).reshape(3, 3)
    found = _Evidence(logits, np.eye(3, dtype=bool), np.array([1, 0, 1]), {"scaling": 1, "kept_back": 2})
    rows, truth = found.of("kept_back")
    assert rows.tolist() == logits[[0, 2]].tolist()
    assert rows.dtype == np.float64
    assert truth.tolist() == [[True, False, False], [False, False, True]]
    assert module._WORDS.keys() == {"scaling", "thresholds", "kept_back"}
