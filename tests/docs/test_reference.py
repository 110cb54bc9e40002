"""The pages of the reference hold all that there is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

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


def documented() -> Iterator[Any]:
    """Public functions, and the methods of public classes."""
    for public in (getattr(cs, name) for name in cs.__all__ if name != "__version__"):
        members = vars(public).items() if inspect.isclass(public) else ()
        yield from (it for it in [public, *(it for name, it in members if name[0] != "_")] if inspect.isfunction(it))


@pytest.mark.parametrize("function", list(documented()), ids=lambda it: it.__qualname__)
def test_what_a_docstring_says_of_arguments_is_said_of_parameters(function: Any) -> None:
    arguments = (inspect.getdoc(function) or "").partition("Args:\n")[2].partition("\n\n")[0]
    named = re.findall(r"^ {4}(\S[^:\n]*):", arguments, re.MULTILINE)
    assert {*named} <= {*inspect.signature(function).parameters}


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


def rows_of_keys(pages: dict[str, str]) -> Iterator[list[str]]:
    """The cells of each row of the page of recipe keys: key, values, default, task, meaning."""
    for row in re.findall(r"^\| `.*$", pages["recipe-keys.md"], re.MULTILINE):
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_every_key_of_a_recipe_has_values_a_default_and_a_meaning(pages: dict[str, str]) -> None:
    assert not [row[0] for row in rows_of_keys(pages) if not (row[1] and row[2] and row[4])]


@pytest.mark.parametrize(
    ("key", "tasks"),
    [
        ("task", {""}),
        ("metric", {""}),
        ("augment.hflip", {""}),
        ("mixing", {"classification, multilabel"}),
        ("mixing.off_epochs", {"classification, multilabel"}),
        ("data.masks.label_map", {"segmentation"}),
        ("preprocess.window.border", {"segmentation"}),
        ("sampling.weights", {"classification"}),
        ("loss.min_kept", {"segmentation"}),
        ("loss.clip", {"multilabel"}),
        ("loss.name", {"classification, segmentation", "classification, multilabel", "", "multilabel", "segmentation"}),
    ],
)
def test_a_key_names_the_tasks_that_have_it(pages: dict[str, str], key: str, tasks: set[str]) -> None:
    assert {row[3] for row in rows_of_keys(pages) if row[0] == f"`{key}`"} == tasks


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


def test_every_json_object_that_a_server_answers_with_has_its_keys_listed(pages: dict[str, str]) -> None:
    linked = set(re.findall(r"\[(\w+)\]\(#", pages["http.md"]))
    described = set(re.findall(r"^## (\w+)\n\n.*\n\n\| key \|", pages["http.md"], re.MULTILINE))
    assert {"ClassAnswer", "MaskAnswer", "ErrorBody"} <= linked <= described
