"""Of several media types, the one that an Accept header likes best."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.bundle.tasks.segmentation import JPEG, PNG
from convsmith.serve.answers import JSON, accepted
from convsmith.serve.problems import Problem

OFFERED = (JSON, PNG, JPEG)
QUALITIES = st.integers(0, 1000).map(lambda thousandths: thousandths / 1000)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("image/*", PNG),
        ("IMAGE/PNG", PNG),
        (" image/jpeg ; q=0.5 ", JPEG),
        ("image/jpeg;Q=0.5", JPEG),
        ("image/jpeg;level=1;q=0.5,image/png;q=0.4", JPEG),
        ("text/html,,image/png", PNG),
        ("*/*;q=0.9, image/jpeg", JPEG),
        ("*/*, application/json;q=0", PNG),
        ("image/png;q=much, image/jpeg;q=0.1", JPEG),
        ("application/json;q=nan, image/jpeg;q=0.1", JPEG),
    ],
)
def test_the_best_liked_type_is_taken(accept: str, kind: str) -> None:
    assert accepted(accept, OFFERED) == kind


@given(st.dictionaries(st.sampled_from(OFFERED), QUALITIES, min_size=1))
def test_the_highest_quality_wins_and_of_equal_ones_the_first_that_is_offered(likes: dict[str, float]) -> None:
    accept = ", ".join(f"{kind};q={quality}" for kind, quality in likes.items())
    if not any(likes.values()):
        with pytest.raises(Problem):
            accepted(accept, OFFERED)
    else:
        best = max(likes.values())
        assert accepted(accept, OFFERED) == next(kind for kind in OFFERED if likes.get(kind) == best)


@given(st.permutations(["image/png;q=0.2", "image/*;q=0.5", "*/*;q=0.1"]))
def test_an_exact_name_counts_before_a_pattern_wherever_it_stands(entries: list[str]) -> None:
    assert accepted(", ".join(entries), OFFERED) == JPEG
    assert accepted(", ".join(entries), (JSON, PNG)) == PNG


@given(st.text() | st.text(alphabet="imagepnj/*;q=0.51, "))
def test_any_header_gets_one_of_the_types_or_a_problem(accept: str) -> None:
    with suppress(Problem):
        assert accepted(accept, OFFERED) in OFFERED
