from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from convsmith.analyze.evaluate import evaluate_bundle
from tests.colours import picture, write_colour_bundle


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"data": None},
        {"data": []},
        *({"data": {"val_fraction": value}} for value in (7.0, -1, None, "0.1", 10**400)),
    ],
)
def test_a_recipe_without_a_val_fraction_has_all_images_judged(tmp_path: Path, recipe: dict[str, Any]) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle", recipe=recipe, data_digest="some data")
    for colour in ("red", "blue"):
        (tmp_path / "data" / colour).mkdir(parents=True)
        (tmp_path / "data" / colour / "a.png").write_bytes(picture(colour))
    assert evaluate_bundle(bundle, tmp_path / "data").images == 2
