from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convsmith.cli.recipes import app
from convsmith.errors import ConvsmithError
from convsmith.recipe.json_schema import recipe_schema
from convsmith.recipe.load import load_recipe
from convsmith.recipe.packaged import list_recipes


def run(*words: str) -> str:
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_recipes_lists_all_of_them() -> None:
    output = run()
    assert [name for name in list_recipes() if name in output] == list_recipes()


def test_each_recipe_is_one_line_however_narrow_the_page_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = run().splitlines()
    assert [line.split()[0] for line in lines] == list_recipes()
    assert lines[list_recipes().index("digits")].endswith(load_recipe("digits").description)


def test_a_pattern_picks_recipes() -> None:
    assert [line.split()[0] for line in run("resnet18*").splitlines()] == list_recipes("resnet18*")
    assert [it["name"] for it in json.loads(run("resnet18*", "--json"))] == list_recipes("resnet18*")


def test_a_pattern_that_fits_nothing_says_what_was_meant() -> None:
    with pytest.raises(ConvsmithError, match="no recipe's name fits `digitz`; did you mean `digits`"):
        CliRunner().invoke(app, ["digitz"], catch_exceptions=False)


def test_recipes_as_json_have_name_description_and_source() -> None:
    recipes = {name: load_recipe(name) for name in list_recipes()}
    assert json.loads(run("--json")) == [
        {"name": name, "description": recipe.description, "source": recipe.source} for name, recipe in recipes.items()
    ]


@pytest.mark.parametrize(
    "name", ["digits", "resnet50-in1k-v2", "resnest200-in1k", "convnext_base-in22k-in1k-384", "cifar10-distilled"]
)
def test_what_show_prints_loads_to_the_same_recipe(tmp_path: Path, name: str) -> None:
    path = tmp_path / "shown.yaml"
    path.write_text(run("show", name, "schedule.epochs=30", "ema={decay: 0.9}"), encoding="utf-8")
    assert load_recipe(path) == load_recipe(name, ["schedule.epochs=30", "ema={decay: 0.9}"])


def test_show_says_where_each_value_came_from() -> None:
    output = run("show", "digits", "seed=3")
    assert re.search(r"^seed: 3 +# command line$", output, re.MULTILINE)
    assert re.search(r"^  name: cifar_resnet20 +# digits:\d+$", output, re.MULTILINE)
    assert re.search(r"^precision: auto +# default$", output, re.MULTILINE)


def test_show_of_an_unknown_recipe_is_an_error() -> None:
    with pytest.raises(ConvsmithError, match="did you mean `digits`"):
        CliRunner().invoke(app, ["show", "digit"], catch_exceptions=False)


def test_schema_prints_json_schema() -> None:
    assert json.loads(run("schema")) == recipe_schema()


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["schema", "--help"]])
def test_help_has_an_example(words: list[str]) -> None:
    assert "Example: convsmith recipes" in run(*words)
