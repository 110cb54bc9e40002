"""The pages of the reference that are written by hand hold all that the code knows, and what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

import convsmith
from convsmith.bundle.format import _MAX_MANIFEST_BYTES, _MAX_MODEL_BYTES
from convsmith.bundle.images.budget import BYTES_OF_PIXEL, LONGEST_SIDE, MOST_PIECES, SERVED_PIXELS
from convsmith.bundle.images.limits import MAX_BYTES, MAX_PIXELS
from convsmith.cli.main import app
from convsmith.launch.report import OUT_OF_MEMORY, PEER_LOST
from convsmith.models.weights.download import _MAX_BYTES as MOST_OF_WEIGHTS
from convsmith.recipe.task_fit import rules_of
from convsmith.recipe.tasks import list_tasks
from convsmith.recipe.yaml_text import MAX_BYTES as MOST_OF_RECIPE
from convsmith.recipe.yaml_text import MAX_DEPTH, MAX_VALUES
from convsmith.serve.app import create_app
from convsmith.serve.uploads import MOST
from tests.conftest import REPOSITORY
from tests.docs.tools import load_tool

DOCS, SOURCE = REPOSITORY / "docs", REPOSITORY / "src/convsmith"
INTERNAL = {"CONVSMITH_REPORTS"}  # between processes of one training
SECTIONS = {
    "classification": "One class for each image",
    "multilabel": "Several labels for each image",
    "segmentation": "A class for each pixel",
}


def page(name: str) -> str:
    return (DOCS / name).read_text("utf-8")


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_every_variable_that_is_read_is_documented() -> None:
    read = {name for file in SOURCE.rglob("*.py") for name in re.findall(r"\bCONVSMITH_[A-Z_]+\b", file.read_text())}
    assert len(read) > 8
    assert read - INTERNAL == set(re.findall(r"^\| `(CONVSMITH_\w+)` \|", page("command-line.md"), re.MULTILINE))


def test_every_exit_code_is_documented() -> None:
    codes = re.findall(r"^\| (\d) \|", page("command-line.md"), re.MULTILINE)
    literal = r"(?:exit_code = |typer\.Exit\(|sys\.exit\()(\d)\b"
    given = {int(code) for file in SOURCE.rglob("*.py") for code in re.findall(literal, file.read_text())}
    assert {*map(int, codes)} == given | {0, PEER_LOST, OUT_OF_MEMORY}
    assert "| 128 + N |" in page("command-line.md")


@pytest.mark.parametrize("task", list_tasks())
def test_every_metric_has_a_formula(task: str) -> None:
    rules = rules_of(task)
    text = section(page("metrics.md"), SECTIONS[task])
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("|")]
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert {*rules.METRICS, *rules.FIGURES, "loss"} <= named
    stars = {name for cell in cells for name in re.findall(r"`(\w+)` \*", cell)}
    assert stars == {*rules.METRICS}


def test_the_bounds_of_the_security_model_are_those_of_the_code() -> None:
    text = section(page("explanation/security.md"), "By how much")
    stated = {int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", text)}
    assert stated >= {
        MAX_PIXELS, MAX_BYTES, SERVED_PIXELS, LONGEST_SIDE, MOST_PIECES, BYTES_OF_PIXEL, MOST_OF_RECIPE, MAX_DEPTH,
        MAX_VALUES, _MAX_MANIFEST_BYTES, _MAX_MODEL_BYTES, MOST_OF_WEIGHTS, MOST,
    }  # fmt: skip


@pytest.mark.parametrize(
    "file", [REPOSITORY / "CONTRIBUTING.md", *sorted((DOCS / "explanation").glob("*.md"))], ids=lambda file: file.stem
)
def test_every_file_that_is_named_is_there(file: Path) -> None:
    text = file.read_text("utf-8")
    named = set(re.findall(r"`((?:src/convsmith|tests|benchmarks|tools|docs)/[\w./*]*)`", text))
    assert [it for it in named if not [*REPOSITORY.glob(it.rstrip("/"))]] == []


def test_every_kind_of_addition_has_its_smallest_example_and_tests() -> None:
    text = section((REPOSITORY / "CONTRIBUTING.md").read_text("utf-8"), "Add something")
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| a ")]
    kinds = " ".join(row[1] for row in rows)
    assert all(word in kinds for word in ("family", "task", "source", "format", "recipe", "metric"))
    assert all(re.search("`(src/convsmith|docs)/", row[3]) and "`tests/" in row[4] for row in rows)


def test_the_manifest_for_kubernetes_asks_what_the_server_answers() -> None:
    text = page("how-to/kubernetes.md").partition("```yaml\n")[2].partition("```")[0]
    deployment, service = yaml.safe_load_all(text)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    port = container["ports"][0]["containerPort"]
    routes = {path for path, operations in create_app(Path("bundle")).openapi()["paths"].items() if "get" in operations}
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert container[probe]["httpGet"]["port"] == port == service["spec"]["ports"][0]["targetPort"]
        assert container[probe]["httpGet"]["path"] in routes
    drain = float(container["args"][container["args"].index("--drain-seconds") + 1])
    assert pod["terminationGracePeriodSeconds"] >= drain + 25
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


def test_every_option_of_a_container_is_one_of_serve() -> None:
    known = {option for it in typer.main.get_command(app).commands["serve"].params for option in it.opts}  # type: ignore[attr-defined]
    text = page("how-to/kubernetes.md").partition("args: [")[2].partition("]")[0]
    assert set(re.findall(r"--[\w-]+", text)) <= known


@pytest.mark.parametrize("pattern", ["how-to/*.md", "explanation/*.md"])
def test_every_page_of_a_folder_is_in_its_index_and_in_the_site(pattern: str) -> None:
    folder = DOCS / pattern.partition("/")[0]
    pages = {file.name for file in folder.glob("*.md")} - {"index.md"}
    assert pages == set(re.findall(r"\]\(([\w-]+\.md)\)", (folder / "index.md").read_text("utf-8")))
    nav = (REPOSITORY / "zensical.toml").read_text("utf-8")
    assert [name for name in pages if f'"{folder.name}/{name}"' not in nav] == []


def test_the_hooks_of_a_commit_fetch_nothing_and_run_what_is_here() -> None:
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    tools = (REPOSITORY / "Makefile").read_text()
    for hook in hooks:
        program, *words = hook["entry"].split()
        assert program.removeprefix(".venv/") in tools.replace("$(BIN)", "bin")
        assert [word for word in words if word.startswith("tests/") and not (REPOSITORY / word).is_file()] == []


def test_the_templates_of_issues_can_be_read() -> None:
    files = sorted((REPOSITORY / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    forms = {file.stem: yaml.safe_load(file.read_text()) for file in files}
    assert {"bug", "idea", "config"} == set(forms)
    for name in ("bug", "idea"):
        assert {"name", "description", "body"} <= set(forms[name])
        assert all(it["type"] == "textarea" and it["attributes"]["label"] for it in forms[name]["body"])


def test_the_changelog_has_the_version_that_is_released() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d\d-\d\d$", text, re.MULTILINE)
    assert released[0] == convsmith.__version__
    assert "### Upgrade notes" in text.partition(f"## [{released[0]}]")[2].partition("\n## [")[0]


def test_the_readme_shows_a_report_and_stays_one_screen() -> None:
    text = (REPOSITORY / "README.md").read_text("utf-8")
    (picture,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert (REPOSITORY / picture).stat().st_size < 150_000
    assert len(text.splitlines()) < 60


def test_the_diagrams_are_those_of_the_tool() -> None:
    diagrams = load_tool("diagrams")
    for name, text in diagrams.pictures().items():
        assert (DOCS / "explanation" / name).read_text("utf-8") == text
    boxes = {name for trip in diagrams.TRIPS.values() for name, _ in trip if "/" in name}
    assert [name for name in boxes if not (SOURCE / name).exists()] == []
