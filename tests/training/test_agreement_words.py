"""How the processes that were not given the same are told apart."""

from __future__ import annotations

import pytest

from convsmith.training.parallel.agreement import _told


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["0", "1"], "0 in process 0, 1 in process 1"),
        (["0", "1", "0"], "1 in process 1, 0 in processes 0, 2"),
        (["0", "0", "1", "0"], "1 in process 2, 0 in processes 0, 1, 3"),
        (["0", "0", "0", "0", "1"], "1 in process 4, 0 in 4 processes"),
        (["a", "b", "c", "d"], "a in process 0, b in process 1, c in process 2"),
        (["0", None, "1"], "0 in process 0, 1 in process 2"),
        (["x" * 40, "y" * 41], f"{'x' * 40} in process 0, {'y' * 40}... in process 1"),
    ],
)
def test_the_rarest_value_comes_first_with_who_has_it(values: list[str | None], said: str) -> None:
    assert _told(values) == said
