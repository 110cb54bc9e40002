from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from convsmith.bundle.figures.ranking import highest_classes

FEW_VALUES = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 2.0, np.inf, np.nan])  # so that many are equal


@given(
    logits=arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 20)), elements=FEW_VALUES),
    count=st.integers(1, 25),
)
def test_the_highest_classes_are_the_first_of_a_full_stable_sort(logits: NDArray[np.float32], count: int) -> None:
    assert np.array_equal(highest_classes(logits, count), np.argsort(-logits, axis=1, kind="stable")[:, :count])


@pytest.mark.parametrize("classes", [1, 5, 1000])
def test_of_no_image_there_are_no_classes(classes: int) -> None:
    assert highest_classes(np.zeros((0, classes), np.float32), 5).shape == (0, min(classes, 5))
