from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.bundle.classification import Classification
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.task import Answer
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, picture


@pytest.fixture(scope="module")
def bundle(colour_bundle: Path) -> Bundle[Classification]:
    return load(colour_bundle, threads=1)


def labels(answers: Iterator[Answer | ImageError]) -> list[str]:
    return [answer.label if isinstance(answer, Classification) else type(answer).__name__ for answer in answers]


@pytest.mark.parametrize("colour", LABELS)
def test_predict_names_the_colour(bundle: Bundle[Classification], colour: str) -> None:
    answer = bundle.predict(picture(colour))
    assert answer.label == colour
    assert 0.99 < answer.score <= 1


def test_every_kind_of_image_gives_the_same_answer(bundle: Bundle[Classification], tmp_path: Path) -> None:
    content = picture("blue")
    (tmp_path / "b.png").write_bytes(content)
    image = Image.open(io.BytesIO(content))
    sources: list[Any] = [tmp_path / "b.png", str(tmp_path / "b.png"), content, bytearray(content), image]
    scores = {bundle.predict(source).score for source in [*sources, np.asarray(image)]}
    assert len(scores) == 1


@pytest.mark.parametrize("written", [True, False], ids=["just written", "at its start"])
def test_an_open_file_is_read_from_its_start(bundle: Bundle[Classification], written: bool) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "blue").save(file, "PNG")
    file.seek(0, io.SEEK_END if written else io.SEEK_SET)
    assert bundle.predict(file).label == "blue"


def test_a_file_that_cannot_be_wound_back_is_read_to_its_end(bundle: Bundle[Classification]) -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(picture("green"))
    with os.fdopen(reading, "rb") as file:
        assert bundle.predict(file).label == "green"


def test_a_file_open_as_text_is_refused(bundle: Bundle[Classification]) -> None:
    with pytest.raises(ImageError, match="cannot read image: it gives str\nOpen it with mode 'rb'"):
        bundle.predict(io.StringIO("text"))  # type: ignore[arg-type]


def test_a_closed_file_is_named(bundle: Bundle[Classification], tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb+") as file:
        pass
    with pytest.raises(ImageError, match=r"a\.png: .*closed file"):
        bundle.predict(file)


def test_a_pillow_image_is_turned_as_its_file_would_be(bundle: Bundle[Classification]) -> None:
    exif = Image.Exif()
    exif[274] = 6
    content = io.BytesIO()
    Image.effect_noise((40, 30), 90).save(content, "PNG", exif=exif)
    image = Image.open(content)
    assert np.array_equal(bundle.preprocess(image), bundle.preprocess(content.getvalue()))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), 7],
)
def test_other_objects_are_refused(bundle: Bundle[Classification], image: Any) -> None:
    with pytest.raises(ImageError, match="Pass a path, bytes, or uint8 pixels"):
        bundle.predict(image)


def test_a_bad_file_is_named(bundle: Bundle[Classification], tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("hello")
    with pytest.raises(ImageError, match=r"notes\.jpg"):
        bundle.predict(tmp_path / "notes.jpg")


def test_logits_are_those_of_the_model(bundle: Bundle[Classification]) -> None:
    batch = np.full((2, 3, 8, 8), 100, np.uint8)
    assert np.allclose(bundle.logits(batch), 10)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_predict_many_answers_in_order(bundle: Bundle[Classification], batch_size: int) -> None:
    colours = [LABELS[i % 3] for i in range(20)]
    assert labels(bundle.predict_many((picture(colour) for colour in colours), batch_size)) == colours


def test_a_type_checker_knows_the_answers_of_the_task_it_is_told_and_else_what_all_have(colour_bundle: Path) -> None:
    unknown = assert_type(cs.load(colour_bundle).predict(picture("red")), Answer)
    assert unknown.to_dict()["label"] == "red"
    annotated: cs.Bundle[cs.Classification] = cs.load(colour_bundle)
    assert assert_type(annotated.predict(picture("red")), cs.Classification).label == "red"
    answers = assert_type(annotated.predict_many([b""]), Iterator[cs.Classification | cs.ImageError])
    assert isinstance(next(answers), cs.ImageError)


def test_predict_many_of_nothing_answers_nothing(bundle: Bundle[Classification]) -> None:
    assert list(bundle.predict_many([])) == []


def test_predict_many_yields_the_error_of_a_bad_image_in_its_place(bundle: Bundle[Classification]) -> None:
    images = [picture("red"), b"", picture("green"), b"garbage"]
    assert labels(bundle.predict_many(images, batch_size=2)) == ["red", "ImageError", "green", "ImageError"]


def test_predict_many_gives_answers_when_all_images_are_bad(bundle: Bundle[Classification]) -> None:
    assert labels(bundle.predict_many([b"", b"x"])) == ["ImageError"] * 2


def test_an_image_without_a_finite_answer_is_one_error_that_names_it(
    bundle_without_answer_on_white: Path, tmp_path: Path
) -> None:
    for colour in ("red", "white", "blue"):
        (tmp_path / f"{colour}.png").write_bytes(picture(colour))
    answers = list(
        load(bundle_without_answer_on_white).predict_many(tmp_path / f"{c}.png" for c in ("red", "white", "blue"))
    )
    assert [isinstance(answer, ImageError) for answer in answers] == [False, True, False]
    assert str(answers[1]) == f"the model gives no answer for {tmp_path}/white.png: its logits are not finite numbers"


def test_an_image_without_a_path_is_named_by_its_place(bundle: Bundle[Classification]) -> None:
    answers = list(bundle.predict_many([picture("red"), b""]))
    assert str(answers[1]) == "cannot read images[1]: it is empty"


@pytest.mark.parametrize(
    "one",
    ["cat.jpg", Path("cat.jpg"), picture("red"), io.BytesIO(picture("red")), Image.new("RGB", (8, 8)), np.eye(8), 7],
    ids=lambda one: type(one).__name__,
)
def test_predict_many_of_one_image_is_refused_at_once(bundle: Bundle[Classification], one: Any) -> None:
    with pytest.raises(ConvsmithError, match="predict_many takes several images"):
        bundle.predict_many(one)


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array])
def test_predict_many_takes_any_collection_of_paths(bundle: Bundle[Classification], tmp_path: Path, kind: Any) -> None:
    (tmp_path / "a.png").write_bytes(picture("blue"))
    assert labels(bundle.predict_many(kind([str(tmp_path / "a.png")] * 2))) == ["blue"] * 2


def test_predict_many_reads_no_more_than_two_batches_ahead(bundle: Bundle[Classification]) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield picture("red")

    answers = bundle.predict_many(endless(), batch_size=4)
    for answered in range(1, 41):
        next(answers)
        assert taken <= answered + 8


def test_predict_many_that_is_left_early_ends_its_threads(bundle: Bundle[Classification]) -> None:
    answers = bundle.predict_many([picture("red")] * 100, batch_size=4)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_many_threads_may_use_one_bundle(bundle: Bundle[Classification]) -> None:
    wrong: list[str] = []

    def ask(colour: str) -> None:
        for _ in range(20):
            answer = bundle.predict(picture(colour)).label
            if answer != colour:
                wrong.append(answer)

    threads = [threading.Thread(target=ask, args=(colour,)) for colour in LABELS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
