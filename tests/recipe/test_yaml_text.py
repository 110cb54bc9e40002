from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from convsmith.errors import ConvsmithError
from convsmith.recipe.yaml_text import KEY, MAX_BYTES, read_yaml, write_yaml

# Text that looks like something else, besides any text.
TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "yes",
        "off",
        "1e-3",
        "0x10",
        "1:30",
        "1_000",
        "2024-01-31",
        "null",
        "~",
        "",
        "=",
        "<<",
        "---",
        "- a",
        "a: b",
        "a #b",
    ]
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.from_regex(KEY, fullmatch=True), below, max_size=3),
    max_leaves=8,
)


def error_of(text: str | bytes) -> str:
    with pytest.raises(ConvsmithError) as caught:
        read_yaml(text, "my.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("-2.", -2.0),
        ("010", 10),
        ("true", True),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("2024-01-31", "2024-01-31"),
        ("'1e-3'", "1e-3"),
        ("[1, 2.5, a]", [1, 2.5, "a"]),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    read, _ = read_yaml(f"key: {text}", "my.yaml")
    assert repr(read) == repr({"key": value})


def test_lines_of_all_keys_are_told() -> None:
    assert read_yaml("a:\n  b: 1\n  c: {d: 2}\ne:\n- f: 3\n", "x")[1] == {
        "a": 1,
        "a.b": 2,
        "a.c": 3,
        "a.c.d": 3,
        "e": 4,
        "e[0].f": 5,
    }


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert read_yaml("\ufeffa: 1".encode(), "x")[0] == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "my.yaml:4:3: the key `b.c` stands twice, first on line 3"),
        ("a: &x 1\nb: *x\n", "my.yaml:1:4: anchors and aliases"),
        ("!!python/object/apply:os.getcwd []", "my.yaml:1:1: tags (!) are not allowed"),
        ("!!str 1", "my.yaml:1:1: tags (!) are not allowed"),
        ("<<: {a: 1}", "my.yaml:1:1: a key must be a word"),
        ("1: a", "my.yaml:1:1: a key must be a word"),
        ("a.b: 1", "my.yaml:1:1: a key must be a word"),
        ("[a]: 1", "my.yaml:1:1: a key must be a word"),
        ("a: .nan", "my.yaml:1:4: .nan is not a finite number"),
        ("a: -.inf", "my.yaml:1:4: -.inf is not a finite number"),
        ("a: 1e999", "my.yaml:1:4: 1e999 is not a finite number"),
        ("a: " + "9" * 5000, "my.yaml:1:4: a number of more than 100 digits"),
        ("a: b: c", "my.yaml:1:5: mapping values are not allowed here"),
        ("a: [1,\n 2", "my.yaml:2:3: while parsing a flow sequence, expected ',' or ']'"),
        ("a: 1\n--- \nb: 2", "my.yaml:2:1: expected a single document"),
        ("a: 1\nb: \x07", "my.yaml:2: YAML has no character U+0007"),
        (r'"\ud800"', "my.yaml:1:1: half of a surrogate pair is not a character"),
        (r'"\U0011ffff"', "my.yaml is not YAML"),
        ("%YAML " + "9" * 5000 + ".1\n--- a", "my.yaml is not YAML"),
        (b"a: \xff", "my.yaml is not UTF-8 text: byte 3"),
        ("a" * (MAX_BYTES + 1), "my.yaml is larger than a recipe can be"),
        (f"{{{'a: 1, ' * 20_000}}}", "my.yaml:1:89999: more than 30,000 keys and values"),
        ("a:\n" + "- {b: 1}\n" * 20_000, "my.yaml:10001:3: more than 30,000 keys and values"),
    ],
)
def test_what_a_recipe_cannot_hold_is_an_error_that_names_the_place(text: str | bytes, message: str) -> None:
    assert error_of(text).startswith(message)


@pytest.mark.parametrize("text", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_depth_is_bounded(text: str) -> None:
    assert "nested more than 16 levels deep" in error_of(text * 100_000)


@given(VALUES)
def test_what_is_written_reads_back(value: Any) -> None:
    assert repr(read_yaml(f"key: {write_yaml(value)}  # remark", "x")[0]) == repr({"key": value})


@given(VALUES)
def test_what_is_written_means_the_same_in_yaml_1_1(value: Any) -> None:
    assert repr(yaml.safe_load(write_yaml(value))) == repr(value)


@given(VALUES)
def test_a_value_is_written_on_one_line(value: Any) -> None:
    assert len(write_yaml(value).splitlines()) == 1


@given(st.binary() | st.text("ab1:-?[]{}#&*!|>'\"%@`,\n\t .\\Uufdx~<=e").map(str.encode))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    try:
        value, _ = read_yaml(data, "my.yaml")
    except ConvsmithError as error:
        assert str(error).startswith("my.yaml")  # noqa: PT017 - both outcomes are right
    else:
        assert isinstance(value, dict | list | str | int | float | None)
