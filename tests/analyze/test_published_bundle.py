from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.analyze.embed import embed
from convsmith.analyze.published_bundle import bundle_or_published
from convsmith.data.open_data import open_data
from convsmith.errors import ConvsmithError
from convsmith.progress import no_progress
from convsmith.recipe.data import Data
from tests.data.folders import write_noise


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CONVSMITH_OFFLINE", "1")


def test_a_published_classifier_gives_the_features_before_its_head(tmp_path: Path, test_data: Path) -> None:
    (tmp_path / "cache/weights").mkdir(parents=True)
    file = shutil.copy(test_data / "data/cifar_resnet20.th", tmp_path / "cache/weights/resnet20-12fca82f.th")
    dataset = open_data("classification", Data(), write_noise(tmp_path / "data", 4, size=(32, 32)))
    found = embed(bundle_or_published("cifar_resnet20"), [dataset.train], no_progress)
    entry = cs.weights(cs.list_weights("cifar_resnet20")[0])
    images = torch.stack(
        [torch.from_numpy(entry.preprocess(dataset.train.contents(i)[0].read())) for i in range(len(dataset.train))]
    )
    mean, std = (torch.tensor(it)[:, None, None] for it in (entry.mean, entry.std))
    with torch.inference_mode():
        model = cs.create_model("cifar_resnet20", weights=file).eval()
        expected = model.forward_features((images / 255 - mean) / std).numpy()
    np.testing.assert_allclose(found, expected - expected.mean(axis=0), atol=0.02)


def test_weights_that_are_not_here_are_named_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"Get https://\S+resnet20-12fca82f.th by other means and put it at"):
        bundle_or_published("cifar_resnet20")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5", "neither a bundle or run here nor a published model; did you mean `resnet50`"),
        ("hrnet_w18_ocr", "gives no embeddings: it is not a classifier"),
        ("resnet50.tv", "neither a bundle or run here nor a published model; did you mean `resnet50.tv_v2`"),
    ],
)
def test_what_is_not_a_published_classifier_is_refused_before_anything_is_fetched(name: str, message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        bundle_or_published(name)
