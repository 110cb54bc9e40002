"""Every block of commands and of Python in README and docs runs, and prints what it shows."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.docs.blocks import PAGES, RUNS, Block, Command, blocks, commands, fits
from tests.docs.reader import reader
from tests.docs.readers_folder import make_readers_folder

MISSING = {  # what a block may need that tests do not have, and how many blocks do
    "needs a network": 21,
    "needs an NVIDIA GPU": 1,
    "needs several GPUs": 2,
    "needs several machines": 3,
    "needs a cluster": 1,
    "needs Docker": 2,
    "needs a package that tests do not install": 6,
}
NAMES = {page: str(page.relative_to(REPOSITORY)) for page in PAGES}
RUNNABLE = [page for page in PAGES if any(True for _ in commands(page))]
QUICK = re.compile(r"convsmith (recipes|plan)\b[^|]*")
PAGES_WITH_QUICK = [page for page in PAGES if any(QUICK.fullmatch(command.text) for command in commands(page))]


@pytest.fixture(scope="module")
def readers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader") / "folder"
    make_readers_folder(folder)
    return folder


@pytest.fixture
def place(page: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the reader of a page is: in an empty folder if it promises that this will do."""
    if "$CONVSMITH_TEST_DATA" in page.read_text("utf-8"):
        request.getfixturevalue("test_data")  # skips where there is none
    folder = tmp_path / "here"
    if RUNS in page.read_text("utf-8"):
        folder.mkdir()
    else:
        shutil.copytree(request.getfixturevalue("readers_folder"), folder, symlinks=True)
    return folder


def follow(asked: list[Command], folder: Path) -> None:
    """Run commands, and compare what they print with what is shown."""
    said = folder.with_suffix(".log")
    with reader(folder, said) as somebody:
        for command in asked:
            status, printed = somebody.run(command)
            assert status == 0, f"{command.text}\n{printed}\n{said.read_text('utf-8')[-3000:]}"
            assert not command.shown or fits(command, printed), f"{command.text}\n{printed}"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=NAMES.get)
def test_every_block_of_a_page_runs_and_prints_what_is_shown(page: Path, place: Path) -> None:
    follow(list(commands(page)), place)


@pytest.mark.parametrize("page", PAGES_WITH_QUICK, ids=NAMES.get)
def test_what_takes_an_instant_runs_and_prints_what_is_shown(page: Path, tmp_path: Path) -> None:
    follow([command for command in commands(page) if QUICK.fullmatch(command.text)], tmp_path)


def test_blocks_that_do_not_run_say_what_they_need() -> None:
    assert Counter(block.not_run for page in PAGES for block in blocks(page) if block.not_run) == MISSING


def test_every_tutorial_promises_that_its_blocks_run() -> None:
    tutorials = [page for page in (REPOSITORY / "docs/tutorials").glob("*.md") if page.name != "index.md"]
    assert tutorials
    assert all(RUNS in page.read_text("utf-8") for page in tutorials)


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_every_block_names_its_language(page: Path) -> None:
    opened = re.findall(r"^```(.*)\n.*?^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert "" not in opened


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_every_block_of_python_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "python":
            ast.parse(block.text, f"{page.name}:{block.line}")


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a ... c", "a b c", True),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\nb", "a  \nb", True),
        ("a", "a b", False),
        ("1.5", "125", False),
    ],
)
def test_dots_stand_for_anything(shown: str, printed: str, same: bool) -> None:
    assert fits(Command("", shown), printed) == same


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("top-1 85.16%, 3 images", "top-1 9.5%, 1,438 images", True),
        ("by 1.6e-05 at most.", "by 2e-07 at most.", True),
        ("top-1 85.16%", "top-5 85.16", False),
        ("cat 0.5", "dog 0.5", False),
        ("cat.jpg 5", "cat_jpg 5", False),
        ("1%  cat\n  2%  dog", "1%  cat\n 100%  dog", True),
    ],
)
def test_other_figures_stand_for_any_figures(shown: str, printed: str, same: bool) -> None:
    assert fits(Command("", shown, other_figures=True), printed) == same


PAGE = """\
```console
$ echo a \\
    b
a b
$ true
```
<!-- before, in tests: touch c -->

<!-- shortened in tests: 100 -> 1 -->

```python
print(100)
```

```text
100
```
<!-- not run: needs Docker -->

```console
$ docker run
```
```yaml
$ no
```
"""


def test_a_page_is_read_as_its_commands_and_what_they_print(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    assert list(commands(tmp_path / "page.md")) == [
        Command("echo a \\\n    b", "a b\n"),
        Command("true"),
        Command("touch c"),
        Command("print(1)", "100\n", is_python=True),
    ]
    assert list(blocks(tmp_path / "page.md"))[-1] == Block(20, "console", "$ docker run\n", not_run="needs Docker")


@pytest.mark.parametrize(
    "page",
    ["<!-- shortened in tests: 2 -> 1 -->\n\n```python\n3\n```\n", "<!-- not run: needs Docker -->\n\n```text\n```\n"],
)
def test_a_comment_that_means_no_block_is_an_error(page: str, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(page)
    with pytest.raises(AssertionError, match=r"page\.md:3: "):
        list(blocks(tmp_path / "page.md"))


def test_a_command_that_fails_or_prints_is_seen(tmp_path: Path) -> None:
    with reader(tmp_path, tmp_path / "log") as somebody:
        assert somebody.run(Command("cd /; echo 1; false")) == (1, "1\n")
        assert somebody.run(Command("pwd")) == (0, "/\n")


def test_a_server_with_a_comment_behind_it_answers_the_next_command(tmp_path: Path) -> None:
    (tmp_path / "readyz").write_text("yes")
    with reader(tmp_path, tmp_path / "log") as somebody:
        somebody.run(Command(f'convsmith() {{ exec {sys.executable} -m http.server "${{@: -1}}"; }}'))
        assert somebody.run(Command("convsmith serve bundle  # a comment"))[0] == 0
        assert somebody.run(Command("curl --silent http://127.0.0.1:8000/readyz")) == (0, "yes")


def test_blocks_of_python_follow_each_other_in_one_session(tmp_path: Path) -> None:
    with reader(tmp_path, tmp_path / "log") as somebody:
        assert somebody.run(Command("one = 1\n", is_python=True)) == (0, "")
        assert somebody.run(Command("print(one)", is_python=True)) == (0, "1\n")
        assert somebody.run(Command("print(two)", is_python=True)) == (1, "")
    assert "NameError" in (tmp_path / "log").read_text()
