from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convsmith.analyze.check_data import check_data
from convsmith.analyze.embed import embed, sign_hashes
from convsmith.data.checks.hamming import bits_of_difference
from convsmith.data.open_data import open_data
from convsmith.deploy.format import open_bundle
from convsmith.errors import ConvsmithError
from convsmith.progress import no_progress
from convsmith.recipe.data import Data
from tests.data.folders import png, write_noise


def test_embeddings_are_the_inputs_of_the_last_layer(colour_bundle: Path, tmp_path: Path) -> None:
    """For the model of colours these are their means."""
    colours = [(250, 0, 0), (200, 20, 20), (0, 250, 0), (10, 0, 250)]
    for i, colour in enumerate(colours):
        folder = tmp_path / ("val" if i % 2 else "train") / f"c{i // 2}"
        folder.mkdir(parents=True)
        (folder / "a.png").write_bytes(png(colour, (8, 8)))
    dataset = open_data("classification", Data(), tmp_path)
    found = embed(open_bundle(colour_bundle), [dataset.train, dataset.val], no_progress)
    means = np.array([colours[i] for i in (0, 2, 1, 3)], float)
    np.testing.assert_allclose(found, means - means.mean(axis=0), atol=0.2)


def test_similar_embeddings_have_similar_hashes() -> None:
    random = np.random.default_rng(0)
    one = random.normal(size=(100, 64))
    near, other = one + random.normal(scale=0.1, size=one.shape), random.normal(size=one.shape)
    hashes = [sign_hashes(it.astype(np.float16)) for it in (one, near, other)]
    assert bits_of_difference(hashes[0], hashes[1]).max() < 10
    assert bits_of_difference(hashes[0], hashes[2]).min() > 10


def test_what_has_no_embedding_has_no_hash() -> None:
    assert sign_hashes(np.zeros((1, 8), np.float16)).tolist() == [0]


def test_images_that_a_bundle_holds_for_the_same_are_told(colour_bundle: Path, tmp_path: Path) -> None:
    root = write_noise(tmp_path, 6, size=(8, 8))
    for name, shade in (("train/c0/a", 200), ("val/c0/b", 202), ("train/c1/c", 201)):
        (root / f"{name}.png").write_bytes(png((shade, 0, 0), (8, 8)))
    found = check_data(root, embeddings=colour_bundle)
    pairs = {pair for copies in found.alike for pair in copies.pairs}
    assert (f"{root}/val/c0/b.png", f"{root}/train/c0/a.png") in pairs
    assert found.usable


def test_a_bundle_for_masks_gives_no_embeddings(pixel_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="gives no embeddings: it was packed without them"):
        check_data(write_noise(tmp_path, 6), embeddings=pixel_bundle)
