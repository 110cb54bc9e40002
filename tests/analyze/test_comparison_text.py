"""What a comparison prints, line by line."""

from __future__ import annotations

from typing import Any

import pytest

from convsmith.analyze.compare import _better
from convsmith.analyze.compare_images import Gaps
from convsmith.analyze.compare_recipes import Seeds
from convsmith.analyze.comparison import Compared, Comparison, Difference
from convsmith.analyze.paired import Gap
from convsmith.tables import table_text


def model(path: str, top1: float | None, ece: float | None = 0.03125, **more: Any) -> Compared:
    figures = {"top1": top1, "loss": 0.5, "ece": ece}
    values = {"megabytes": 12.345, "milliseconds": 3.456, "milliseconds_in_all": None, **more}
    return Compared(path, "onnx", False, figures, {"top1": (0.5, 0.75)}, curves={}, **values)


def difference(better: Any, p: float | None = 0.012345, gap: Gap | None = None, images: int = 0) -> Difference:
    names = tuple(f"{k}.png" for k in range(images))
    gaps = {} if gap is None else {"top1": gap}
    return Difference(1, better, p, "mcnemar", gaps, names, names[:1], {"optimizer.lr": (0.1, 0.2), "seed": (0, 1)})


def printed(*differences: Difference, models: tuple[Compared, ...] = (), seeds: tuple[Seeds, ...] = ()) -> list[str]:
    found = Comparison(1234, "top1", models or (model("a", 0.625), model("[b]", 0.5)), differences, seeds, ("A note.",))
    return [part if isinstance(part, str) else table_text(part) for part in found.parts()]


def test_the_table_has_figures_size_and_speed() -> None:
    head, table, *rest = printed()
    assert head == "1,234 images, the same for all models"
    lines = [" ".join(line.split()) for line in table.strip().splitlines()]
    assert lines[0] == "model top-1 loss calibration error MB ms ms in all"
    assert lines[2] == "1 a 62.50% (50.0 to 75.0) 0.5000 0.0312 12.3 3.46"
    assert lines[3] == "2 [b] 50.00% (50.0 to 75.0) 0.5000 0.0312 12.3 3.46"
    assert rest == ["A note."]


def test_the_calibration_error_is_left_out_where_one_lacks_it() -> None:
    table = printed(models=(model("a", 0.5, ece=None, milliseconds_in_all=4.0), model("b", None)))[1]
    lines = [" ".join(line.split()) for line in table.strip().splitlines()]
    assert lines[0] == "model top-1 loss MB ms ms in all"
    assert lines[2] == "1 a 50.00% (50.0 to 75.0) 0.5000 12.3 3.46 4.00"
    assert lines[3] == "2 b 0.5000 12.3 3.46"


@pytest.mark.parametrize(
    ("it", "words"),
    [
        (
            difference(True, gap=Gap(0.125, (0.01, 0.24), 0.012345), images=6),
            ["model 2 is better than model 1: top-1 by +12.50 points (+1.00 to +24.00), p 0.012, mcnemar",
             "  better about 6 images: 0.png, 1.png, 2.png, 3.png, 4.png, ...",
             "  worse about 1 image: 0.png"],
        ),
        (
            difference(False, gap=Gap(-0.125, None, None), images=5),
            ["model 2 is worse than model 1: top-1 by -12.50 points, p 0.012, mcnemar",
             "  better about 5 images: 0.png, 1.png, 2.png, 3.png, 4.png",
             "  worse about 1 image: 0.png"],
        ),
        (
            difference("unclear", p=None),
            ["model 2 may be as good as model 1: top-1, too few images tell more",
             "  better about 0 images",
             "  worse about 0 images"],
        ),
    ],
)  # fmt: skip
def test_a_difference_is_said_in_words(it: Difference, words: list[str]) -> None:
    assert printed(it)[2:] == [*words, "  recipe: optimizer.lr 0.1 -> 0.2, seed 0 -> 1", "A note."]


def test_seeds_have_their_mean() -> None:
    seeds = Seeds((0, 2), (0, 1), {"top1": 0.5}, {"top1": 0.0125})
    assert printed(seeds=(seeds,))[2] == (
        "models 1, 3 are of one recipe with other seeds: top-1 50.00% ± 1.25% (mean, standard error)"
    )


@pytest.mark.parametrize(
    ("p", "gap", "comparisons", "expected"),
    [
        (0.049, 0.1, 1, True),
        (0.05, 0.1, 1, "unclear"),
        (0.049, 0.1, 2, "unclear"),
        (0.024, -0.1, 2, False),
        (0.0, 0.0, 1, False),
        (None, 0.1, 1, "unclear"),
        (0.001, None, 1, "unclear"),
    ],
)
def test_a_model_is_better_where_chance_does_not_explain_it(
    p: float | None, gap: float | None, comparisons: int, expected: Any
) -> None:
    gaps = {} if gap is None else {"top1": Gap(gap, None, None)}
    apart = Gaps(p, "mcnemar", gaps, (), ())
    assert _better(apart, "top1", comparisons) == expected
