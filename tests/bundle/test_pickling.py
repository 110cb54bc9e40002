"""A bundle that goes to another process, or is copied, is opened again by its path."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import shutil
from pathlib import Path

import pytest

from convsmith.bundle.openvino_runtime import OpenVinoRuntime
from convsmith.bundle.predictor import Bundle, load
from convsmith.deploy.format import open_bundle
from convsmith.errors import ConvsmithError
from tests.colours import LABELS, picture, write_colour_bundle


def again(bundle: Bundle) -> Bundle:
    unpickled: Bundle = pickle.loads(pickle.dumps(bundle))
    return unpickled


def test_a_pickled_bundle_gives_the_same_answers(colour_bundle: Path) -> None:
    bundle = load(colour_bundle, threads=1)
    unpickled = again(bundle)
    assert unpickled is not bundle
    assert unpickled.predict(picture("green")).to_dict() == bundle.predict(picture("green")).to_dict()


def test_what_is_pickled_is_the_way_to_the_bundle(colour_bundle: Path) -> None:
    assert len(pickle.dumps(load(colour_bundle))) < 1000


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_copy_gives_the_same_answers(colour_bundle: Path, copied: object) -> None:
    assert callable(copied)
    assert copied(load(colour_bundle)).predict(picture("blue")).label == "blue"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_pool_of_processes_predicts(colour_bundle: Path, tmp_path: Path, method: str) -> None:
    for colour in LABELS:
        (tmp_path / f"{colour}.png").write_bytes(picture(colour))
    with multiprocessing.get_context(method).Pool(1) as pool:
        answers = pool.map(load(colour_bundle, threads=1).predict, [tmp_path / f"{colour}.png" for colour in LABELS])
    assert [answer.to_dict()["label"] for answer in answers] == list(LABELS)


def test_a_relative_path_leads_to_the_same_folder_from_elsewhere(
    colour_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(colour_bundle.parent)
    content = pickle.dumps(load(colour_bundle.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(content).labels == LABELS


def test_how_it_looks_at_images_is_kept(pixel_bundle: Path) -> None:
    looking = load(pixel_bundle).with_preprocess(flip=True, scales=[0.5, 1])
    assert again(looking).manifest.preprocess == looking.manifest.preprocess


def test_the_runtime_of_ones_choice_is_kept(colour_bundle: Path) -> None:
    pytest.importorskip("openvino")
    assert isinstance(again(load(colour_bundle, runtime="openvino"))._runtime, OpenVinoRuntime)


def test_what_evaluate_opens_can_be_pickled_too(colour_bundle: Path) -> None:
    assert again(open_bundle(colour_bundle)).labels == LABELS


def test_a_bundle_that_was_replaced_meanwhile_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps(load(write_colour_bundle(tmp_path / "b")))
    write_colour_bundle(tmp_path / "b", labels=("cat", "dog", "eel"))
    with pytest.raises(ConvsmithError, match="holds another bundle: it was replaced"):
        pickle.loads(content)


def test_a_bundle_that_is_gone_is_named(tmp_path: Path) -> None:
    content = pickle.dumps(load(write_colour_bundle(tmp_path / "b")))
    shutil.rmtree(tmp_path / "b")
    with pytest.raises(ConvsmithError, match="b is not a bundle"):
        pickle.loads(content)
