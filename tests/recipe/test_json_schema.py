from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from convsmith.recipe.json_schema import recipe_schema
from convsmith.recipe.load import resolve
from convsmith.recipe.packaged import list_recipes
from convsmith.recipe.yaml_text import read_yaml

VALIDATOR = Draft202012Validator(recipe_schema())
LIBRARY = [file for file in (files("convsmith.recipe") / "library").iterdir() if file.name.endswith(".yaml")]


def is_valid(text: str) -> bool:
    return VALIDATOR.is_valid(read_yaml(text, "x")[0])


def parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from parts(below)


def test_it_is_json_schema_of_draft_2020_12() -> None:
    assert recipe_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(recipe_schema())


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.name)
def test_every_packaged_file_is_valid(file: Any) -> None:
    VALIDATOR.validate(read_yaml(file.read_bytes(), file.name)[0])


@pytest.mark.parametrize("name", list_recipes())
def test_every_resolved_recipe_is_valid(name: str) -> None:
    VALIDATOR.validate(resolve(name).values)


@given(st.sets(st.sampled_from(sorted(resolve("resnet18-folder").values))))
def test_any_part_of_a_recipe_is_valid(keys: set[str]) -> None:
    values = resolve("resnet18-folder").values
    VALIDATOR.validate({key: values[key] for key in keys})


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "extends: digits",
        "optimizer: {lr: 0.2}",
        "optimizer: {name: adamw, eps: 1e-6}",
        "augment: {hflip: 0}",
    ],
)
def test_a_file_that_says_only_what_differs_is_valid(text: str) -> None:
    assert is_valid(text)


@pytest.mark.parametrize(
    "text",
    ["optimiser: {}", "model: {nme: a}", "extends: 3", "optimizer: {name: adamw, nesterov: true}", "batch: {size: 0}"],
)
def test_a_file_that_would_not_load_is_invalid(text: str) -> None:
    assert not is_valid(text)


def test_no_object_takes_unknown_keys_but_the_models_options() -> None:
    objects = [part for part in parts(recipe_schema()) if "properties" in part and "extends" not in part]
    assert all(part["additionalProperties"] is False for part in objects)


def test_an_editor_can_show_descriptions_and_defaults() -> None:
    schedule = recipe_schema()["$defs"]["Cosine"]["properties"]
    purpose = "Passes over the training data, an extra phase not counted; 0: keep the weights it starts from."
    assert schedule["epochs"]["description"] == purpose
    assert schedule["min_lr"]["default"] == 0
