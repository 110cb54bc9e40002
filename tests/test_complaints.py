"""What pydantic objects to, in plain words, wherever values are no recipe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from convsmith.complaints import either, first_problem
from convsmith.spec import WholeImage


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"flop": True}, "unknown key `flop`; did you mean `flip`?"),
        ({"zzz": 1}, "unknown key `zzz`; there are mean, std, range, method, "),
        ({"flip": 3}, "`flip` is 3, expected true or false"),
        ({"flip": "yes"}, '`flip` is the text "yes", expected true or false'),
        ({"scales": 3}, "`scales` is 3, expected a list"),
        ({"scales": []}, "`scales` is [], expected a list of at least 1 item"),
        ({"scales": ["a"]}, '`scales[0]` is the text "a", expected a number'),
        ({"scales": [1, 0]}, "`scales[1]` is 0, expected a number above 0"),
        ({"window": 3}, "`window` is 3, expected a section (keys below it)"),
        ({"window": {}}, "`window.size` is missing"),
        ({"window": {"size": [8]}}, "`window.size[1]` is missing"),
        ({"window": {"size": [8, 9000]}}, "`window.size[1]` is 9000, expected a number of at most 4096"),
        ({"window": {"size": [8, 8], "stride": [9, 9]}}, "`window`: stride [9, 9] is larger than size [8, 8]"),
        ({"method": "warp"}, '`method` is the text "warp", expected `whole`'),
        ({"mean": [0, 0, True]}, "`mean[2]` is true, expected a number"),
        ({"base_size": 1.5}, "`base_size` is 1.5, expected an integer"),
    ],
)
def test_the_key_the_value_and_what_would_be_right_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WholeImage.model_validate_json(json.dumps({"method": "whole", **values}))
    assert first_problem(caught.value, WholeImage).startswith(words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"window": {"size": [8, 8], "sizes": 1}}, "unknown key `window.sizes`"),
        ({"warp": True}, "warp makes both sides base_size, which is null: set base_size"),
        ({"flip": 3, "scales": 3}, "`scales` is 3, expected a list"),
        ({"window": {"size": [8, 8], "border": "x"}}, '`window.border` is the text "x", expected `pad` or `shift`'),
        ({"flip": {"a": 1}}, "`flip` is a section, expected true or false"),
        ({"flip": "ä" * 58}, f'`flip` is the text "{"ä" * 58}", expected true or false'),
        ({"flip": "ä" * 59}, f'`flip` is the text "{"ä" * 59}..., expected true or false'),
        ({"scales": [1] * 9, "mean": []}, "`mean` is [], expected a list of at least 1 item"),
        ({"mean": [2]}, "`mean[0]` is 2, expected a number of at most 1"),
        ({"mean": [-1]}, "`mean[0]` is -1, expected a number of at least 0"),
    ],
)
def test_the_first_problem_is_told_whole(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WholeImage.model_validate_json(json.dumps({"method": "whole", **values}))
    assert first_problem(caught.value, WholeImage) == words


@pytest.mark.parametrize(("words", "text"), [("a", "`a`"), ("ab", "`a` or `b`"), ("abc", "`a`, `b` or `c`")])
def test_words_are_a_choice(words: str, text: str) -> None:
    assert either(words) == text
