from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

import convsmith as cs
from convsmith.cli.main import app
from convsmith.tables import add_figures, add_names, aligned, new_table, table_text


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["models", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_names_every_model_and_cuts_nothing_off() -> None:
    output = run()
    first_words = [line.split()[0] for line in output.splitlines()[3:] if line[:1].strip() or line[1:2].strip()]
    assert first_words == cs.list_models()
    assert "…" not in output


def test_a_line_shows_task_cost_size_and_weights() -> None:
    line = run("resnet50").splitlines()[-2]
    words = ["resnet50", "classification", "25.6", "M", "4.09", "224x224", "resnet50.tv_v1,", "resnet50.tv_v2"]
    assert line.split() == words


def test_json_has_the_same_facts() -> None:
    (row,) = json.loads(run("hrnet_w48_seg", "--json"))
    assert (row["name"], row["task"], row["size"]) == ("hrnet_w48_seg", "segmentation", [512, 1024])
    assert (row["params"], row["gmacs"]) == (65859379, 186.8783)
    assert row["weights"] == cs.list_weights("hrnet_w48_seg")


def test_a_pattern_of_another_library_lists_its_names() -> None:
    assert run("torchvision/*_resnet50").split() == ["torchvision/deeplabv3_resnet50", "torchvision/fcn_resnet50"]
    assert json.loads(run("timm/test_vit", "--json")) == [{"name": "timm/test_vit"}]


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_a_librarys_name_alone_lists_all_of_its_names(library: str) -> None:
    assert run(library) == run(f"{library}/*")


@pytest.mark.parametrize("words", [["nothing*"], ["timm/nothing*"], ["nothing*", "--json"]])
def test_no_match_is_an_error(words: list[str]) -> None:
    with pytest.raises(cs.ConvsmithError, match=rf"no model's name fits `{re.escape(words[0])}`"):
        run(*words)


@pytest.mark.parametrize(
    ("pattern", "meant"), [("resnet_50", "resnet50"), ("resnest-50*", "resnest50"), ("timm/resnet_50", "timm/resnet50")]
)
def test_no_match_says_what_was_meant(pattern: str, meant: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"did you mean `{meant}`"):
        run(pattern)


def test_the_columns_are_those_of_every_other_table() -> None:
    rows = [("name", "at"), ("resnet50", "224x224"), ("b", "1x1")]
    table = new_table()
    add_names(table, "name")
    add_figures(table, "at")
    for row in rows[1:]:
        table.add_row(*row)
    assert [line.rstrip() for line in aligned(rows, figures={1}).split("\n")] == table_text(table).split("\n")
