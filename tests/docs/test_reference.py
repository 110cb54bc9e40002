"""The pages of the reference hold all that there is."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

import convsmith as cs
from convsmith.deploy.formats import list_formats
from convsmith.recipe.json_schema import recipe_schema
from tests.docs.tools import load_tool


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    return load_tool("reference")


def test_every_public_name_is_on_the_page_of_python(reference: ModuleType) -> None:
    listed = [name for names in reference.PYTHON.values() for name in names]
    assert sorted(listed) == sorted(set(cs.__all__) - {"__version__"})


@pytest.fixture(scope="module")
def pages(reference: ModuleType) -> dict[str, str]:
    pages: dict[str, str] = reference.pages()
    return pages


def test_every_command_has_its_usage_and_options(pages: dict[str, str]) -> None:
    headings = re.findall("^## (.*)$", pages["commands.md"], re.MULTILINE)
    assert {"convsmith train", "convsmith data check", "convsmith launch slurm"} <= set(headings)
    assert pages["commands.md"].count("```text\nconvsmith") >= 2 * len(headings)  # usage, and at least one example


def test_every_key_of_a_recipe_is_listed(pages: dict[str, str]) -> None:
    keys = set(re.findall(r"^\| `([\w.]+)`", pages["recipe-keys.md"], re.MULTILINE))
    schema = recipe_schema()
    names = {name for kind in [schema, *schema["$defs"].values()] for name in kind.get("properties", ())}
    assert names - {key.rpartition(".")[2] for key in keys} == {"extends"}


@pytest.mark.parametrize(
    ("page", "names"),
    [("models.md", cs.list_models()), ("weights.md", cs.list_weights()), ("formats.md", list_formats())],
)
def test_every_model_weight_and_format_is_listed(pages: dict[str, str], page: str, names: list[str]) -> None:
    assert re.findall(r"^\| `([\w.-]+)` \|", pages[page], re.MULTILINE) == names


def test_every_cell_of_a_table_is_in_its_column(pages: dict[str, str]) -> None:
    for text in pages.values():
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1, table
