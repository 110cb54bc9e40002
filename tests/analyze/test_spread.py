from __future__ import annotations

import numpy as np
import pytest

from convsmith.analyze.spread import spread


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000, 99991])
def test_each_number_comes_once(count: int) -> None:
    assert np.array_equal(np.sort(spread(count)), np.arange(count))


@pytest.mark.parametrize("seen", [1, 3, 10, 64, 500])
def test_any_beginning_leaves_no_gap_of_thrice_its_share(seen: int) -> None:
    places = np.sort(spread(1000)[:seen])
    assert np.diff(np.concatenate([[0], places, [999]])).max() <= 3 * 1000 / seen
