from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from convsmith.data.checks.prints import mirror_colours, perceptual_hashes, print_of
from tests.conftest import REPOSITORY
from tests.data.pictures import picture

GOLDENS = json.loads((REPOSITORY / "tests/goldens/phash.json").read_text())["hashes"]


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda it: "x".join(map(str, it["size"])))
def test_the_hash_is_that_of_imagehash(golden: dict[str, Any]) -> None:
    found, _ = perceptual_hashes(picture(golden["seed"], tuple(golden["size"])))
    assert f"{found:016x}" == golden["phash"]


def test_pixels_have_the_hash_of_their_picture() -> None:
    assert perceptual_hashes(np.asarray(picture(0)).copy()) == perceptual_hashes(picture(0))


def test_colours_are_the_means_of_sixteen_cells() -> None:
    cells = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    *_, colours = print_of(Image.fromarray(cells.repeat(20, axis=0).repeat(20, axis=1)))
    assert colours.tolist() == list(range(48))


def test_a_mirrored_image_has_the_print_that_was_foretold() -> None:
    image = picture(0, (64, 64))
    hashes, (*turned, colours) = perceptual_hashes(image), print_of(ImageOps.mirror(image))
    assert tuple(turned) == hashes[::-1]
    assert colours.tolist() == mirror_colours(print_of(image)[2][None]).ravel().tolist()


def test_a_column_of_cells_is_no_wider_than_its_part_of_an_image_of_any_size() -> None:
    pixels = np.zeros((30, 30, 3), np.uint8)
    pixels[:, 15:] = 200
    *_, colours = print_of(Image.fromarray(pixels))
    assert colours.reshape(4, 4, 3)[0, :, 0].tolist() == [0, 0, 200, 200]
