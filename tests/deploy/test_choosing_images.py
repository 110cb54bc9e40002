"""Which images calibrate an INT8 model, which ones choose rule and layers, and how they are read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.bundle.format import read_manifest
from convsmith.bundle.images.image_error import ImageError
from convsmith.deploy import calibration, quantize
from convsmith.deploy.calibration import calibrate
from convsmith.deploy.graph import Graph
from convsmith.deploy.labelled import LabelledImages, open_labelled
from convsmith.deploy.quantize import most_held_out
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, SIDE, colour_model
from tests.exports import write_colours


@pytest.mark.parametrize(
    ("size", "count"),
    [((32, 32), 4096), ((224, 224), 512), ((224, 448), 256), ((1024, 2048), 12), ((4000, 4000), 8)],
)
def test_rule_and_layers_are_chosen_by_512_images_of_224x224_and_fewer_large_ones(
    size: tuple[int, int], count: int
) -> None:
    assert most_held_out(size) == count


class Train:
    """Training images of 224x448, two classes in turn, of which some cannot be read."""

    def __init__(self, count: int, unreadable: Sequence[int] = (), numbers: Sequence[int] | None = None) -> None:
        self.numbers = list(range(count)) if numbers is None else list(numbers)
        self.unreadable, self.samples = unreadable, self
        self.targets = np.arange(count) % 2

    def select(self, numbers: Sequence[int]) -> Train:
        return Train(0, self.unreadable, numbers)

    def __iter__(self) -> Iterator[Any]:
        return (
            (np.broadcast_to(np.uint8(number % 256), (3, 224, 448)), number)
            for number in self.numbers
            if number not in self.unreadable
        )


def chosen(train: Train, images: int) -> tuple[list[int], list[int]]:
    """The numbers of the images that calibrate, and of those that choose."""
    one: Any = train
    calibrating, held_out = quantize._choose(one, images, 0)
    numbers: Any = calibrating
    return numbers.numbers, [target for _, target in held_out]


@pytest.mark.parametrize(
    ("count", "images", "calibrating", "choosing"),
    [(10, 512, 5, 5), (10, 4, 4, 6), (9, 512, 4, 5), (2, 9, 1, 1), (600, 200, 200, 256)],
)
def test_half_of_the_images_calibrate_at_most_and_others_choose(
    count: int, images: int, calibrating: int, choosing: int
) -> None:
    one, two = chosen(Train(count), images)
    assert (len(one), len(two)) == (calibrating, choosing)
    assert not set(one) & set(two)
    assert abs(sum(number % 2 for number in one) - calibrating / 2) <= 1


def test_one_image_or_none_that_can_be_read_is_not_enough() -> None:
    with pytest.raises(ConvsmithError, match="one training image is not enough"):
        chosen(Train(1), 9)
    with pytest.raises(ConvsmithError, match="cannot be calibrated: not one image can be read"):
        chosen(Train(4, unreadable=range(4)), 9)
    assert chosen(Train(4, unreadable=[0, 1]), 9)


@pytest.mark.parametrize(("images", "warned"), [(99, True), (100, False)])
def test_fewer_than_a_hundred_images_are_warned_of(caplog: pytest.LogCaptureFixture, images: int, warned: bool) -> None:
    with caplog.at_level(logging.WARNING):
        chosen(Train(300), images)
    assert ("99 training images to calibrate with" in caplog.text) == warned


def test_classes_of_the_data_are_found_by_their_names_in_the_bundle(colour_bundle: Path, tmp_path: Path) -> None:
    train, val = open_labelled(read_manifest(colour_bundle), write_colours(tmp_path / "data"))
    assert len(train) + len(val) == 12
    for part in (train, val):
        for image, target in part:
            assert int(image.mean((1, 2)).argmax()) == target
    first = train.select([2])
    assert (len(first), first.name(0), LABELS[first.read(0)[1]]) == (1, train.name(2), train.name(2).split("/")[-2])


def test_an_image_that_cannot_be_read_is_left_out_and_each_that_is_read_is_noticed(
    colour_bundle: Path, tmp_path: Path
) -> None:
    data = write_colours(tmp_path / "data")
    train, _ = open_labelled(read_manifest(colour_bundle), data)
    Path(train.name(0)).write_bytes(b"") if Path(train.name(0)).exists() else (data / train.name(0)).write_bytes(b"")
    noticed: list[int] = []
    listening = LabelledImages(train.manifest, train.samples, train.classes, lambda i, _: noticed.append(i))
    assert len(list(listening)) == len(train) - 1
    assert noticed == list(range(1, len(train)))
    with pytest.raises(ImageError):
        train.read(0)


@pytest.mark.parametrize(("kept", "counted"), [(1 << 14, 192), (192, 192), (96, 64), (64, 64), (32, 28)])
def test_of_a_large_tensor_every_so_many_values_are_counted(
    monkeypatch: pytest.MonkeyPatch, kept: int, counted: int
) -> None:
    """An odd number, so that all columns of a map are met."""
    monkeypatch.setattr(calibration, "_KEPT", kept)
    graph = Graph.load(colour_model())
    with calibration._Probe(graph, ["floats"]) as probe:
        probe.run(np.zeros((1, 3, SIDE, SIDE), np.uint8))
        assert probe.histograms({"floats": (0.0, 1.0)})["floats"].sum() == counted


def test_the_values_of_a_tensor_are_counted_from_the_lowest_to_the_highest_of_all_images() -> None:
    images = [np.full((1, 3, SIDE, SIDE), value, np.uint8) for value in (0, 100, 255)]
    graph = Graph.load(colour_model())
    with calibration._Probe(graph, ["floats"]) as probe:
        for image in images:
            probe.run(image)
        ranges = probe.ranges()
        histogram = probe.histograms(ranges)["floats"]
    assert ranges == {"floats": (0.0, 255.0)}
    assert {int(i): int(histogram[i]) for i in histogram.nonzero()[0]} == {0: 192, 803: 192, 2047: 192}


def test_samples_that_go_into_a_file_give_the_same_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, image = Graph.load(colour_model()), np.arange(192, dtype=np.uint8).reshape(1, 3, SIDE, SIDE)

    def found() -> list[int]:
        with calibration._Probe(graph, ["floats"]) as probe:
            for shift in range(3):
                probe.run(image + np.uint8(shift))
            return [int(it) for it in probe.histograms(probe.ranges())["floats"]]

    in_memory = found()
    monkeypatch.setattr(calibration, "_IN_MEMORY", 1)
    assert found() == in_memory


def test_a_range_holds_0_and_a_rule_that_says_the_same_as_one_before_is_left_out() -> None:
    graph = Graph.load(colour_model())
    image = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    image[0] += np.arange(192, dtype=np.uint8).reshape(3, SIDE, SIDE)
    calls: list[str] = []

    def feed(run: Any) -> None:
        calls.append("pass")
        assert run(image).shape == (2, 3)

    found = calibrate(graph, {"floats", "logits", "no such tensor"}, feed)
    assert calls == ["pass"]
    assert list(found["minmax"]) == ["floats", "logits"]
    assert found["minmax"]["floats"] == (0.0, 191.0)
    assert found["minmax"]["logits"] == pytest.approx((0.0, 0.1 * (128 + 31.5)))
    assert "percentile" not in found
