"""How much more a rare class counts."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.recipe.rarity import Rarity, rarity


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("inverse", [1, 1, 1 / 4, 1 / 100]),
        ("sqrt", [1, 1, 1 / 2, 1 / 10]),
        ("effective_number", [1, 1, 0.5 / (1 - 0.5**4), 0.5]),
    ],
)
def test_each_kind_is_its_formula_and_a_class_without_images_counts_as_one_with_one(
    kind: Rarity, expected: list[float]
) -> None:
    assert rarity(kind, np.array([0, 1, 4, 100]), beta=0.5).tolist() == pytest.approx(expected, rel=1e-12)


def test_the_usual_beta_is_that_of_the_paper() -> None:
    assert rarity("effective_number", np.array([2])) == pytest.approx([1 / 1.999], rel=1e-9)
