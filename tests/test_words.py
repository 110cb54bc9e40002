"""Words for figures."""

from __future__ import annotations

import pytest

from convsmith.words import figure_text, for_terminal, is_count, metric_name, points_between, points_lost


@pytest.mark.parametrize(
    ("drop", "words"),
    [
        (0.84, "0.84 points lost"),
        (-0.84, "0.84 points gained"),
        (0.0, "0.00 points lost"),
        (-0.001, "0.00 points lost"),
        (-0.006, "0.01 points gained"),
        (100.0, "100.00 points lost"),
    ],
)
def test_a_gain_is_not_called_a_loss(drop: float, words: str) -> None:
    assert points_lost(drop) == words


def test_an_interval_says_on_which_side_of_zero_it_ends() -> None:
    assert points_between((-0.12, 0.31)) == " (95 %: 0.12 gained to 0.31 lost)"
    assert points_between(None) == ""


@pytest.mark.parametrize(
    ("metric", "name"), [("top1", "top-1"), ("miou", "mIoU"), ("balanced_accuracy", "balanced accuracy")]
)
def test_a_metric_has_a_name_for_people(metric: str, name: str) -> None:
    assert metric_name(metric) == name


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("top1", 0.12345, "12.35 %"),
        ("loss", 0.12345, "0.1235"),
        ("brier", 1.5, "1.5000"),
        ("pixels", 1234567.0, "1,234,567"),
        ("top1", None, ""),
    ],
)
def test_a_figure_is_a_share_a_score_or_a_count(metric: str, value: float | None, text: str) -> None:
    assert figure_text(metric, value) == text


def test_figures_that_count_are_known() -> None:
    assert [is_count(it) for it in ("support", "pixels", "positives", "top1")] == [True, True, True, False]


def test_text_for_a_terminal_steers_nothing_and_keeps_odd_bytes_of_names() -> None:
    told = for_terminal("a\x1b[2J\nö\udc80\udcff\ud800")
    assert told == "a\\x1b[2J\\nö\udc80\udcff\\ud800"
