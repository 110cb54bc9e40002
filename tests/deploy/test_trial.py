"""What a model says of images, and how far that is from what another one says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.bundle.figures.classification_metrics import ClassificationResults
from convsmith.bundle.format import Manifest, read_manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy import trial
from convsmith.deploy.judging import Heard, InMemory, Labelled, judge
from convsmith.deploy.trial import Outcome, compare, embeddings_apart, joined, pixel_errors, run_all
from convsmith.errors import ConvsmithError
from convsmith.progress import no_progress
from tests.colours import SIDE, colour_model, without_answer_on_white
from tests.stripes import pixel_colour_model, stripes, stripes_mask


@pytest.fixture(scope="module")
def manifest(colour_bundle: Path) -> Manifest:
    return read_manifest(colour_bundle)


def of_colour(channel: int, target: int | None = None) -> Labelled:
    """An image of one colour, and its class, or another one."""
    image = np.zeros((3, SIDE, SIDE), np.uint8)
    image[channel] = 200
    return image, channel if target is None else target


WHITE = np.full((3, SIDE, SIDE), 255, np.uint8), 0


def test_the_answers_are_shared_out_among_twenty_groups(manifest: Manifest) -> None:
    """Every twentieth image from the third and from the seventh on has another class than its colour."""
    images = [of_colour(i % 3, (i + (i % 20 in (3, 7))) % 3) for i in range(45)]
    done: list[tuple[str, int, int]] = []
    outcome = run_all(manifest, colour_model(), InMemory(images), lambda *it: done.append(it), "what")
    assert outcome.images == 45
    assert [group.compute()["top1"] for group in outcome.groups] == [float(g not in (3, 7)) for g in range(20)]
    assert outcome.metrics["top1"] == pytest.approx(40 / 45)
    assert [int(said) for said in outcome.decisions] == [i % 3 for i in range(45)]
    assert [len(part) for part in outcome.logits] == [32, 13]
    assert done == [("what", 0, 45), ("what", 32, 45), ("what", 45, 45)]
    assert outcome.embeddings == []
    assert outcome.ece == pytest.approx(5 / 45)  # it is sure of all


def test_three_images_make_three_groups(manifest: Manifest) -> None:
    outcome = run_all(manifest, colour_model(), InMemory([of_colour(i) for i in range(3)]), no_progress, "")
    assert [group.compute()["top1"] for group in outcome.groups] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("room", "kept"), [(96, 1), (97, 2)])
def test_logits_are_kept_as_far_as_there_is_room(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, room: int, kept: int
) -> None:
    monkeypatch.setattr(trial, "_KEPT", room)
    outcome = run_all(manifest, colour_model(), InMemory([of_colour(0)] * 40), no_progress, "")
    assert (len(outcome.logits), outcome.images) == (kept, 40)


def test_an_image_without_an_answer_or_no_image_at_all_ends_the_trial(manifest: Manifest) -> None:
    with pytest.raises(ImageError, match="image 1"):
        run_all(manifest, without_answer_on_white(colour_model()), InMemory([of_colour(0), WHITE]), no_progress, "")
    with pytest.raises(ConvsmithError, match="cannot be judged: not one image can be read"):
        run_all(manifest, colour_model(), InMemory([]), no_progress, "")


@pytest.mark.parametrize("first", [1, 2, 13, 32])
def test_what_is_said_of_some_images_and_of_the_rest_is_what_is_said_of_all(manifest: Manifest, first: int) -> None:
    images = [of_colour(i % 3, (i + (i % 20 in (3, 7))) % 3) for i in range(45)]
    asked = (images, images[:first], images[first:])
    all_at_once, one, other = (run_all(manifest, colour_model(), InMemory(it), no_progress, "") for it in asked)
    both = joined(one, other)
    assert (both.images, both.metrics) == (45, all_at_once.metrics)
    assert [group.compute() for group in both.groups] == [group.compute() for group in all_at_once.groups]
    assert [int(said) for said in both.decisions] == [int(said) for said in all_at_once.decisions]
    np.testing.assert_array_equal(np.concatenate(both.logits), np.concatenate(all_at_once.logits))


def outcome(answers: Sequence[int], **more: Any) -> Outcome:
    """Answers to four images, whose classes are 0, 1, 2 and 0."""
    targets, logits = np.array([0, 1, 2, 0]), np.eye(3, dtype=np.float32)[list(answers)]
    groups = [ClassificationResults() for _ in targets]
    for i, group in enumerate(groups):
        group.update(logits[i : i + 1], targets[i : i + 1])
    return Outcome(4, [*groups], [logits], [np.array(answer) for answer in answers], **more)


def test_a_verdict_has_the_drop_the_agreement_and_the_distance(manifest: Manifest) -> None:
    verdict = compare(manifest, outcome([0, 1, 2, 0]), outcome([0, 1, 1, 1]))
    assert verdict.interval is not None
    assert (verdict.drop, verdict.top1_agreement, verdict.max_abs_diff) == (50, 0.5, 1)
    assert verdict.mean_abs_diff == pytest.approx(4 / 12)
    assert verdict.snr_db == pytest.approx(10 * np.log10(4 * (2 / 3) / (2 * 2)))
    assert verdict.interval[0] < 0 < 50 < verdict.interval[1] == 100 - verdict.interval[0]


def test_embeddings_are_compared_where_there_are_any() -> None:
    rows = [np.array([[3.0, 4.0]], np.float32)]
    assert embeddings_apart(outcome([0] * 4), outcome([0] * 4)) == {}
    apart = embeddings_apart(outcome([0] * 4, embeddings=rows), outcome([0] * 4, embeddings=[rows[0] + 0.5]))
    assert apart == {
        "embeddings": {"max_abs_diff": 0.5, "mean_abs_diff": 0.5, "snr_db": pytest.approx(10 * np.log10(25 / 0.5))}
    }


def test_of_maps_each_eighth_row_and_column_is_kept() -> None:
    maps = np.arange(2 * 3 * 17 * 9, dtype=np.float32).reshape(2, 3, 17, 9)
    thinned = trial._thinned(maps)
    np.testing.assert_array_equal(thinned, maps[:, :, [0, 8, 16]][..., [0, 8]])
    assert thinned.base is None  # not a view, which would keep all of the maps
    assert trial._thinned(maps[0, 0]) is not None
    assert trial._thinned(maps[0, 0]).shape == (17, 9)


class Counted:
    """So many images, of which one selects."""

    def __init__(self, count: int) -> None:
        self.count, self.selected = count, list[int]()

    def __len__(self) -> int:
        return self.count

    def select(self, numbers: Sequence[int]) -> InMemory:
        self.selected = list(numbers)
        scene = np.moveaxis(stripes("red", "blue", size=(8, 16)), 2, 0), stripes_mask("red", "blue", size=(8, 16))
        return InMemory([scene] * len(self.selected))


def test_the_calibration_error_of_pixels_is_that_of_up_to_32_images_evenly_of_all(pixel_bundle: Path) -> None:
    images: Any = Counted(100)
    errors = pixel_errors(read_manifest(pixel_bundle), [pixel_colour_model()] * 2, images, no_progress)
    assert (len(images.selected), images.selected[:4], images.selected[-1]) == (32, [0, 3, 6, 9], 96)
    assert errors == pytest.approx([0, 0], abs=1e-4)
    images = Counted(5)
    pixel_errors(read_manifest(pixel_bundle), [], images, no_progress)
    assert images.selected == [0, 1, 2, 3, 4]


NO_ANSWER = "the model gives no answer for image 2"


class Damaged(InMemory):
    """Images of which the second cannot be read."""

    def read(self, i: int) -> Labelled:
        if i == 1:
            raise ImageError("image 1", "it is damaged")
        return super().read(i)


def heard_of(manifest: Manifest, model: bytes, batch_size: int) -> tuple[list[Heard], list[tuple[str, int, int]]]:
    """What a model says of five images: one is damaged and one is white."""
    images, done = Damaged([of_colour(0), of_colour(1), WHITE, of_colour(1), of_colour(2)]), list[Any]()
    run = OnnxRuntime(model).run
    batches = judge(manifest, [run, run], images, batch_size, what="ask", progress=lambda *it: done.append(it))
    return list(batches), done


def test_what_gets_no_answer_is_left_out_and_the_others_keep_their_numbers(manifest: Manifest) -> None:
    batches, done = heard_of(manifest, without_answer_on_white(colour_model()), 2)
    assert [heard.numbers for heard in batches] == [[0], [3], [4]]
    assert [heard.targets for heard in batches] == [[0], [1], [2]]
    assert [[error.what for error in heard.left_out] for heard in batches] == [["image 1"], [NO_ANSWER], []]
    assert [[error.what for error in heard.unanswered] for heard in batches] == [[], [NO_ANSWER], []]
    assert [[int(np.argmax(said[0])) for said in heard.said] for heard in batches] == [[0, 0], [1, 1], [2, 2]]
    assert done == [("ask", 2, 5), ("ask", 4, 5), ("ask", 5, 5)]


def test_images_of_any_size_are_asked_one_by_one(pixel_bundle: Path) -> None:
    scenes = [
        (np.moveaxis(stripes("red", size=size), 2, 0), stripes_mask("red", size=size)) for size in ((4, 9), (5, 7))
    ]
    run = OnnxRuntime(pixel_colour_model()).run
    batches = list(judge(read_manifest(pixel_bundle), [run], InMemory(scenes), what=""))
    assert [heard.said[0][0].shape for heard in batches] == [(4, 9), (5, 7)]
