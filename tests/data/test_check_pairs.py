from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from convsmith.bundle.images.open_image import FORMATS
from convsmith.data.checks.check import DECODE_LIMIT, BadFile, check_files
from convsmith.data.masks.mask_data import MaskData
from tests.data.folders import path_of, png
from tests.data.masks import mask_png, opened, plain, write_folders

MEBIBYTE = 2**20


def pairs_with_faults(root: Path) -> MaskData:
    write_folders(root, *[f"train/{name}" for name in ("good", "image", "mask", "size", "value")], "val/1")
    (root / "images/train/image.jpg").write_bytes(b"text")
    (root / "masks/train/mask.png").write_bytes(b"")
    (root / "masks/train/size.png").write_bytes(mask_png(np.zeros((4, 5), np.uint8)))
    (root / "masks/train/value.png").write_bytes(plain(17))
    return opened(root)


def reasons(folder: MaskData) -> dict[str, str]:
    return {Path(bad.path).stem: bad.reason for bad in check_files(folder.train)}


def test_every_fault_is_found_and_named_by_the_image(tmp_path: Path) -> None:
    folder = pairs_with_faults(tmp_path)
    masks = tmp_path / "masks/train"
    assert reasons(folder) == {
        "image": f"it is not an image of a known kind ({', '.join(FORMATS)}), or its head is damaged",
        "mask": f"its mask {masks}/mask.png: it is empty",
        "size": f"its mask {masks}/size.png: it has 5 x 4 pixels, the image 6 x 4",
        "value": f"its mask {masks}/value.png: it holds the value 17, not only 0 to 2 and 255",
    }


def test_above_the_limit_images_are_not_decoded_but_masks_are(tmp_path: Path) -> None:
    write_folders(tmp_path, *[f"train/big{i}" for i in range(5)], "val/1")
    folder = pairs_with_faults(tmp_path)
    for i in range(5):  # holes that make the files large
        os.truncate(tmp_path / f"images/train/big{i}.jpg", 250 * MEBIBYTE)
    assert sum(path_of(folder.train, i).stat().st_size for i in range(len(folder.train))) > DECODE_LIMIT
    (tmp_path / "images/train/good.jpg").write_bytes(png()[:60])
    assert reasons(folder).keys() == {"image", "mask", "size", "value"}


def test_good_pairs_are_not_listed(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "train/b", "val/1"))
    assert check_files(folder.train) == []


def test_a_broken_link_is_a_bad_pair(tmp_path: Path) -> None:
    folder = opened(write_folders(tmp_path, "train/a", "val/1"))
    path_of(folder.train, 0).unlink()
    path_of(folder.train, 0).symlink_to("nowhere.jpg")
    assert check_files(folder.train) == [BadFile(f"{tmp_path}/images/train/a.jpg", "no such file or directory")]
