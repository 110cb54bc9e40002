"""The table that a recipe is chosen from."""

from __future__ import annotations

import math

import pytest

from convsmith.analyze.recipe_table import FASTER, PHOTOS, SCENES, SMALL_PHOTOS, SMALL_SIDE, RecipeRow, row_for
from convsmith.recipe.load import load_recipe

TABLES = {"photos": PHOTOS, "small photos": SMALL_PHOTOS, "scenes": SCENES}


@pytest.mark.parametrize(
    ("table", "bounds"),
    [("photos", [300, 1000, 5000]), ("small photos", [5000]), ("scenes", [150, 500, 5000])],
)
def test_a_row_is_for_fewer_images_than_its_bound(table: str, bounds: list[int]) -> None:
    rows = TABLES[table]
    assert [row.below for row in rows] == [*bounds, math.inf]
    for place, bound in enumerate(bounds):
        assert row_for(rows, bound - 1) is rows[place]
        assert row_for(rows, bound) is rows[place + 1]
    assert row_for(rows, 10**9) is rows[-1]


def test_images_of_at_most_40_pixels_are_small() -> None:
    assert SMALL_SIDE == 40


@pytest.mark.parametrize(
    "row", [row for rows in TABLES.values() for row in rows], ids=lambda row: f"{row.scratch[:9]}{row.below}"
)
def test_each_recipe_of_the_table_is_one_and_has_weights_but_for_the_last_resort(row: RecipeRow) -> None:
    for line in (*row.cpu, *row.gpu):
        name, *changes = line.split()
        assert load_recipe(name, changes).model.weights is not None
    name, *changes = row.scratch.split()
    assert load_recipe(name, changes).model.weights is None


def test_each_recipe_that_learns_faster_is_another_one() -> None:
    for name, faster in FASTER.items():
        assert load_recipe(faster).task == load_recipe(name).task
        assert faster != name
