from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from convsmith.bundle.images.image_error import ImageError
from convsmith.data.masks.pixel_counts import count_pixels
from tests.data.masks import mask_of, mask_png, opened, write_folders


@settings(max_examples=10)
@given(st.lists(arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=40))
def test_pixels_of_each_class_are_counted_over_all_masks(
    tmp_path_factory: pytest.TempPathFactory, masks: list[np.ndarray]
) -> None:
    root = write_folders(tmp_path_factory.mktemp("data"), *[f"train/{i}" for i in range(len(masks))], "val/1")
    for i, mask in enumerate(masks):
        (root / f"masks/train/{i}.png").write_bytes(mask_png(mask))
    folder = opened(root)
    counts = count_pixels(folder.train, 3)
    assert counts.dtype == np.dtype(np.int64)
    assert counts.tolist() == [sum(int((mask == target).sum()) for mask in masks) for target in range(3)]


def test_a_bad_mask_is_named(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "val/1"))
    mask_of(folder.train, 0).write_bytes(b"text")
    with pytest.raises(ImageError, match=r"masks/train/a\.png"):
        count_pixels(folder.train, 3)


# CamVid


SHARES = [0.17, 0.23, 0.01, 0.32, 0.04, 0.10, 0.01, 0.01, 0.06, 0.006, 0.003]  # of the training part


@pytest.fixture(scope="module")
def camvid(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("camvid")
    with tarfile.open(test_data / "data" / "camvid.tar") as archive:
        archive.extractall(root, filter="data")
    return root / "camvid"


@pytest.mark.parametrize("keys", [{"layout": "camvid"}, {"ignore_index": 11}])
def test_camvid_has_its_shares_of_pixels(camvid: Path, keys: dict[str, Any]) -> None:
    folder = opened(camvid, **keys)
    assert (len(folder.train), len(folder.val), len(folder.classes)) == (367, 101, 11)
    shares = count_pixels(folder.train, 11) / (367 * 360 * 480)
    assert np.abs(shares - SHARES).max() < 0.0051
    assert 1 - shares.sum() == pytest.approx(0.04, abs=0.005)
