"""The package webdataset reads our shards, and we read its."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convsmith.bundle.images.decode import as_pillow
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack
from convsmith.recipe.data import Data
from tests.data.folders import png, write_noise
from tests.data.shards import ROWS, labelled, opened, tar

webdataset: Any = pytest.importorskip("webdataset")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))


def test_it_reads_ours(tmp_path: Path) -> None:
    data = open_data("classification", Data(), write_noise(tmp_path / "data", 20))
    pack(data, tmp_path / "out", 20_000)
    urls = sorted(map(str, tmp_path.glob("out/train-*.tar")))
    assert len(urls) > 1
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8").to_tuple("png", "cls"))
    read = [data.train.read(i) for i in range(len(data.train))]
    expected = {(np.asarray(image).tobytes(), target) for image, target in read}
    assert {(image.tobytes(), target) for image, target in samples} == expected


@pytest.mark.parametrize("before", ["", "./", "./v1.0/"])  # tar cf SHARD *, ./* and .
def test_it_and_we_find_the_same_samples(tmp_path: Path, before: str) -> None:
    shard = tmp_path / "s.tar"
    shard.write_bytes(tar(labelled(*((before + key, label) for key, label in ROWS))))
    samples = webdataset.WebDataset(str(shard), shardshuffle=False).to_tuple("png", "cls")
    data = opened(shard)
    images = [data.train.contents(i)[0].read() for i in range(len(ROWS))]
    labels = [data.classes[target].encode() for target in data.train.targets]
    assert list(zip(images, labels, strict=True)) == list(samples)


@pytest.mark.parametrize("label", ["cls", "json"])
def test_we_read_its(tmp_path: Path, label: str) -> None:
    (tmp_path / "data").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "data/train-%06d.tar"), maxcount=4, verbose=0) as sink:
        for i in range(10):
            target = {"label": i % 3} if label == "json" else i % 3
            sink.write({"__key__": f"folder/{i:04}", "png": png((i, 0, 0)), label: target})
    train = open_data("classification", Data(), tmp_path / "data" / "train-{000000..000002}.tar", hold_out=False).train
    assert train.targets.tolist() == [i % 3 for i in range(10)]
    assert [as_pillow(train.read(i)[0]).getpixel((0, 0)) for i in range(10)] == [(i, 0, 0) for i in range(10)]
