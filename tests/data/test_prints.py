from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convsmith.data.checks.prints import perceptual_hash, print_of
from tests.conftest import REPOSITORY
from tests.data.pictures import picture

GOLDENS = json.loads((REPOSITORY / "tests/goldens/phash.json").read_text())["hashes"]


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda it: "x".join(map(str, it["size"])))
def test_the_hash_is_that_of_imagehash(golden: dict[str, Any]) -> None:
    found = perceptual_hash(picture(golden["seed"], tuple(golden["size"])))
    assert f"{found:016x}" == golden["phash"]


def test_pixels_have_the_hash_of_their_picture() -> None:
    assert perceptual_hash(np.asarray(picture(0)).copy()) == perceptual_hash(picture(0))


def test_colours_are_the_means_of_sixteen_cells() -> None:
    cells = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    _, colours = print_of(Image.fromarray(cells.repeat(20, axis=0).repeat(20, axis=1)))
    assert colours.tolist() == list(range(48))
