"""What the docs show of recipes for segmentation is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from convsmith.recipe.load import load_recipe
from convsmith.recipe.packaged import list_recipes

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", (DOCS / "segmentation.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
SHORT, TWO_PHASES = EXAMPLES


def test_the_short_recipe_is_one_for_segmentation(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(SHORT, "utf-8")
    recipe = load_recipe(tmp_path / "mine.yaml")
    assert (recipe.task, recipe.metric, recipe.loss.name) == ("segmentation", "miou", "ohem")


def test_the_recipe_of_two_phases_is_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(TWO_PHASES, "utf-8")
    packaged = load_recipe("hrnet_w48_seg-cityscapes-trainval")
    mine = load_recipe(tmp_path / "mine.yaml")
    assert mine.model_copy(update={"description": packaged.description}) == packaged


def test_the_table_names_every_packaged_recipe_for_segmentation() -> None:
    table = (DOCS / "recipes.md").read_text("utf-8").partition("## The packaged recipes")[2]
    named = {name for words in re.findall(r"`([^`]+)`", table) for name in _expanded(words)}
    assert {name for name in list_recipes() if load_recipe(name).task == "segmentation"} <= named


def _expanded(words: str) -> list[str]:
    """As a shell expands braces."""
    before, brace, rest = words.partition("{")
    if not brace:
        return [words]
    choices, _, after = rest.partition("}")
    return [before + choice + end for choice in choices.split(",") for end in _expanded(after)]
