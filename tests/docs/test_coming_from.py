"""The tables for those who come from other tools name keys, recipes, models and commands that there are."""

from __future__ import annotations

import fnmatch
import json
import re

import pytest

import convsmith as cs
from convsmith.recipe.json_schema import recipe_schema
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/coming-from/index.md").read_text("utf-8")
OURS = "\n".join(row.split("|")[2] for row in PAGE.splitlines() if row.startswith("|"))
SECTIONS = set(recipe_schema()["properties"])
KEYS = sorted(
    {key for key in re.findall(r"[`\s]([a-z_]+(?:\.[a-z_]+)*)(?==|`|\s)", OURS) if key.split(".")[0] in SECTIONS}
)


def keys_of(schema: dict[str, object], section: object) -> set[str]:
    """The names of the keys of a section, whatever its kinds."""
    found: set[str] = set()
    if isinstance(section, dict):
        if "$ref" in section:
            return keys_of(schema, schema["$defs"][str(section["$ref"]).rpartition("/")[2]])  # type: ignore[index]
        for several in ("anyOf", "oneOf"):
            for kind in section.get(several, ()):
                found |= keys_of(schema, kind)
        for name, inner in section.get("properties", {}).items():
            found |= {name, *(f"{name}.{key}" for key in keys_of(schema, inner))}
    return found


def test_every_key_is_one_of_a_recipe() -> None:
    schema = recipe_schema()
    known = keys_of(schema, schema) | {"model.options.drop_path"}
    assert len(KEYS) > 60
    assert set(KEYS) - known == set()


def test_every_argument_that_convnexts_commands_give_has_a_row() -> None:
    facts = json.loads((REPOSITORY / "tests/goldens/training/recipes.json").read_text("utf-8"))["convnext"]
    given = {name for entry in facts["entries"] for name in entry["hyper"]} | set(facts["shared_by_all_entries"])
    without = {"finetune_from_checkpoint", "resplit", "cutmix_minmax"}  # ours, and two that are off in all commands
    section = PAGE.partition("## ConvNeXt's `main.py`")[2].partition("\n## ")[0]
    assert {f"--{name}" for name in given - without} <= set(re.findall(r"--\w+", section))


@pytest.mark.parametrize("pattern", sorted(set(re.findall(r"convsmith recipes (?:show )?([*\w-]*\*[*\w-]*)", PAGE))))
def test_every_pattern_finds_recipes(pattern: str) -> None:
    assert fnmatch.filter(cs.list_recipes(), pattern)


def test_every_recipe_and_model_is_there() -> None:
    assert set(re.findall(r"convsmith train (\w[\w.]*-[\w-]+)", PAGE)) <= set(cs.list_recipes())
    assert {"hrnet_w48_ocr", "resnet50_upernet", "resnet50"} <= set(cs.list_models())
    assert "resnet50-in1k-v2" in cs.list_recipes()
