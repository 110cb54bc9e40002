"""What an evaluation prints and gives as rows."""

from __future__ import annotations

import numpy as np
import pytest

from convsmith.bundle.figures.evaluation import Evaluation, between
from convsmith.tables import table_text

FURTHER = {"f1_macro": 0.25, "auroc": None, "brier": 0.125, "ece": 0.0625}


def evaluation(classes: int, images: int = 7, held_out: bool = False) -> Evaluation:
    none = (None,) * classes
    confusion = np.zeros((classes, classes), int)
    confusion[0] = range(classes)
    return Evaluation(
        images=images,
        held_out=held_out,
        is_part=False,
        figures={"top1": 0.5, "top5": 1.0, "balanced_accuracy": 0.25, "loss": 1.5, **FURTHER},
        labels=tuple(f"c{number}" for number in range(classes)),
        classes={
            "per_class": (0.5, *[None] * (classes - 1)),
            "support": (4, *[0] * (classes - 1)),
            "precision": none,
            "f1": none,
        },
        confusion=tuple(map(tuple, confusion.tolist())),
        unreadable=(),
    )


def printed(it: Evaluation) -> list[str]:
    return [part if isinstance(part, str) else table_text(part) for part in it.parts()]


def test_an_interval_is_in_percent() -> None:
    assert between((0.123, 0.4567)) == " (12.3 to 45.7)"
    assert between(None) == ""


@pytest.mark.parametrize(
    ("images", "held_out", "words"), [(1, False, "1 image"), (7, False, "7 images"), (7, True, "7 held-out images")]
)
def test_the_first_line_counts_the_images(images: int, held_out: bool, words: str) -> None:
    assert printed(evaluation(3, images, held_out))[0].startswith(f"{words}  ")


def test_up_to_twenty_classes_have_columns() -> None:
    _, table, *remarks = printed(evaluation(20))
    assert table.split("\n")[1].split()[-20:] == [f"c{number}" for number in range(20)]
    first, second = table.split("\n")[3:5]
    assert first.split()[-19:] == [str(number) for number in range(1, 20)]  # and nothing for 0
    assert second.split()[0] == "c1"
    assert remarks[0] == "Columns are what the bundle says; --json has all figures."
    assert not any("more columns" in remark for remark in remarks)


def test_more_classes_have_none() -> None:
    _, table, *remarks = printed(evaluation(21))
    assert "c0" not in table.split("\n")[1]
    assert "What the bundle says has 21 more columns than fit here; --json has them all." in remarks
    assert not any("Columns are" in remark for remark in remarks)


def test_a_narrow_terminal_has_as_many_columns_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    _, table, *remarks = printed(evaluation(20))
    shown = sum(word.startswith("c") and word[1:].isdigit() for word in table.split("\n")[1].split())
    assert 0 < shown < 20
    assert max(map(len, table.split("\n"))) <= 60
    assert f"What the bundle says has {20 - shown} more columns than fit here; --json has them all." in remarks


def test_there_is_a_row_for_each_class() -> None:
    assert evaluation(2).records() == [
        {"class": "c0", "per_class": 0.5, "support": 4, "precision": None, "f1": None},
        {"class": "c1", "per_class": None, "support": 0, "precision": None, "f1": None},
    ]


def test_figures_are_attributes() -> None:
    found = evaluation(2)
    assert (found.top1, found.per_class, found.to_dict()["slices"]) == (0.5, (0.5, None), None)
    with pytest.raises(AttributeError, match="an Evaluation has no attribute 'miou'"):
        found.miou  # noqa: B018
