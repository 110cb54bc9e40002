"""How far images are from the training images: from the fit to the answers of every task, and the server's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from convsmith.bundle.distance import DISTANCE
from convsmith.bundle.format import read_manifest
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.tasks import list_tasks
from convsmith.bundle.write import Card, write_bundle
from convsmith.cli.main import main
from convsmith.deploy.onnx_outputs import without_embeddings
from convsmith.errors import ConvsmithError
from convsmith.jobs.export import export
from convsmith.jobs.fit_distance import fit_distance
from convsmith.serve.app import create_app
from tests.serve.running import PATIENCE, served
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training import test_embeddings
from tests.training.test_embeddings import MAKE, Made


@pytest.fixture(scope="module", params=list_tasks())
def fitted(
    request: pytest.FixtureRequest, digits: Path, tiny: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    """A run for each task, whose bundle says distances."""
    with pytest.MonkeyPatch.context() as patch:
        name_tiny_segmenter(patch)
        patch.setattr("convsmith.jobs.fit_distance._FEWEST", 5)
        made = MAKE[request.param](tmp_path_factory.mktemp(request.param), digits)
        fit_distance(made[0].bundle, made[1])
        yield made


@pytest.fixture(scope="module")
def classified(digits: Path, tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = test_embeddings.make_classification(tmp_path_factory.mktemp("classified"), digits)
    fit_distance(made[0].bundle, digits)
    return made


def test_an_answer_says_how_far_its_image_is_from_the_training_images(fitted: Made) -> None:
    run, _, image = fitted
    bundle: Bundle[Any] = cs.load(run.bundle)
    answer = bundle.predict(image)
    assert answer.distance is not None
    assert 0 <= answer.distance.value <= 2
    assert 0 <= answer.distance.percentile <= 100
    assert answer.to_dict()["distance"] == vars(answer.distance)
    assert bundle.task.schema.model_validate(bundle.task.to_json(answer)) is not None


def test_answers_are_those_of_a_bundle_without_distances(fitted: Made) -> None:
    run, _, image = fitted
    known: Bundle[Any] = cs.load(run.bundle)
    plain = Bundle[Any](known.path, known.manifest, known._runtime)
    mine, theirs = known.predict(image).to_dict(), plain.predict(image).to_dict()
    assert {**mine, "distance": None, "meta": None} == {**theirs, "distance": None, "meta": None}
    assert "distance" not in theirs


def test_what_is_no_digit_is_farther_than_any_digit(classified: Made) -> None:
    bundle: Bundle[Any] = cs.load(classified[0].bundle)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert bundle.predict(noise).distance.percentile == 100


def test_many_images_have_the_distances_of_each(classified: Made) -> None:
    run, data, _ = classified
    bundle: Bundle[Any] = cs.load(run.bundle)
    paths = sorted((data / "val").rglob("*.png"))
    for path, answer in zip(paths, bundle.predict_many(paths, batch_size=7), strict=True):
        assert not isinstance(answer, cs.ImageError)
        assert answer.distance.value == pytest.approx(bundle.predict(path).distance.value, rel=1e-3)


def test_the_server_says_the_distance(classified: Made) -> None:
    run, _, image = classified
    with served(create_app(run.bundle)) as (_, url):
        given = httpx.post(f"{url}/predict", files={"image": ("a.png", image.read_bytes())}, timeout=PATIENCE)
    assert given.status_code == 200
    answer = given.json()
    assert answer["distance"] == pytest.approx(vars(cs.load(run.bundle).predict(image).distance), rel=1e-4)


def test_other_forms_of_the_model_know_no_distances(classified: Made, tmp_path: Path) -> None:
    run, data, image = classified
    export(run.path, "onnx", tmp_path / "onnx", data)
    cs.quantize(run.bundle, data, tmp_path / "int8", max_drop=100.0)
    for out in (tmp_path / "onnx", tmp_path / "int8"):
        assert read_manifest(out).distance is None
        assert cs.load(out).predict(image).distance is None
        assert fit_distance(out, data).images == 48
        assert cs.load(out).predict(image).distance is not None


def test_a_calibrated_bundle_keeps_its_distances(classified: Made) -> None:
    run, data, image = classified
    cs.calibrate(run.bundle, data)
    assert cs.load(run.bundle).predict(image).distance is not None


def test_a_damaged_file_is_refused(classified: Made, tmp_path: Path) -> None:
    run = classified[0]
    for file in run.bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / DISTANCE).read_bytes())
    content[7] ^= 1
    (tmp_path / DISTANCE).write_bytes(content)
    with pytest.raises(ConvsmithError, match=f"{DISTANCE} does not have the SHA-256"):
        cs.load(tmp_path)


def test_distances_are_fitted_on_the_command_line(
    digits: Path, tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data, _ = test_embeddings.make_classification(tmp_path, digits)
    with pytest.raises(SystemExit) as end:
        main(["embed", str(run.path), "--data", str(data), "--fit", "--json"])
    assert end.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["distance"]["images"], told["distance"]["held_out"]) == (20, 48, 20)
    assert read_manifest(run.bundle).distance is not None


def test_a_bundle_without_embeddings_is_given_them(digits: Path, tiny: None, tmp_path: Path) -> None:
    run, data, image = test_embeddings.make_classification(tmp_path, digits)
    card = Card.of(read_manifest(run.bundle).model_copy(update={"embeddings": None}))
    write_bundle(tmp_path / "old", without_embeddings((run.bundle / "model.onnx").read_bytes()), card)
    older: cs.Bundle[cs.Classification] = cs.load(tmp_path / "old")
    fit_distance(tmp_path / "old", data)
    bundle: cs.Bundle[cs.Classification] = cs.load(tmp_path / "old")
    answer = bundle.predict(image)
    assert answer.distance is not None
    np.testing.assert_array_equal(answer.logits, older.predict(image).logits)
    np.testing.assert_allclose(bundle.embed(image), cs.load(run.bundle).embed(image), atol=1e-5)


def test_too_few_images_are_refused_and_the_bundle_stays(digits: Path, tiny: None, tmp_path: Path) -> None:
    run, data, image = test_embeddings.make_classification(tmp_path, digits)
    for label in "0123":
        (tmp_path / "few/train" / label).mkdir(parents=True)
        Image.open(data / f"train/{label}/00.png").save(tmp_path / f"few/train/{label}/0.png")
        (tmp_path / "few/val" / label).mkdir(parents=True)
        Image.open(data / f"val/{label}/12.png").save(tmp_path / f"few/val/{label}/1.png")
    with pytest.raises(ConvsmithError, match="distances cannot be fitted"):
        fit_distance(run.bundle, tmp_path / "few")
    assert cs.load(run.bundle).predict(image).distance is None
