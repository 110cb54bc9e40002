"""Words of errors."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from convsmith import errors
from convsmith.errors import (
    ConvsmithError,
    counted,
    did_you_mean,
    install_command,
    missing_package,
    of_system,
    printable,
    quoted,
    require_extra,
    upgrade_command,
)

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("published", "install", "upgrade"),
    [
        (False, "pip install '.[serve]'", "git pull && pip install ."),
        (True, "pip install 'convsmith[serve]'", "pip install --upgrade 'convsmith>=1.2'"),
    ],
)
def test_one_constant_decides_what_installs_convsmith(
    monkeypatch: pytest.MonkeyPatch, published: bool, install: str, upgrade: str
) -> None:
    monkeypatch.setattr(errors, "PUBLISHED", published)
    assert (install_command("serve"), upgrade_command("1.2")) == (install, upgrade)
    assert install in require_extra("fastapi", "serving").fix


@pytest.mark.parametrize(("package", "extra"), [("torch", "train"), ("python_multipart", "serve"), ("onnx", "export")])
def test_a_missing_package_names_the_extra_that_brings_it(package: str, extra: str) -> None:
    told = missing_package(ModuleNotFoundError(name=f"{package}.part"))
    assert told is not None
    assert told.what == f"this part of convsmith needs the package `{package}`"
    assert told.fix == f"Install it with: {install_command(extra)}, in the folder of convsmith"


def test_a_package_that_the_installed_convsmith_does_not_know_is_installed_by_its_name() -> None:
    assert require_extra("tomorrow", "a picture of it").fix == "Install it with: pip install tomorrow"


@pytest.mark.parametrize("name", ["convsmith.nothing", "numpy", None])
def test_a_missing_package_that_no_extra_brings_is_a_mistake_of_ours(name: str | None) -> None:
    assert missing_package(ModuleNotFoundError(name=name)) is None


def test_the_docs_install_as_the_messages_do() -> None:
    from_index = re.compile(r"pip install (--upgrade )?['\"]?convsmith")
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").rglob("*.md")]
    assert len(pages) > 10
    found = [page.name for page in pages if from_index.search(page.read_text())]
    assert bool(found) == errors.PUBLISHED, found


@pytest.mark.parametrize("word", ["adamW", "AdamW", "ADAMW"])
def test_capitals_do_not_make_another_word(word: str) -> None:
    assert did_you_mean(word, ["sgd", "adam", "adamw"]) == "; did you mean `adamw`?"


@pytest.mark.parametrize(("number", "text"), [(0, "0 images"), (1, "1 image"), (2, "2 images"), (1000, "1,000 images")])
def test_all_but_one_are_counted_in_the_plural(number: int, text: str) -> None:
    assert counted(number, "image") == text


def test_in_python_options_are_arguments() -> None:
    error = ConvsmithError("x is taken", fix="Choose another with --out, or see `convsmith train --out x`.")
    assert str(error) == "x is taken\nChoose another with out=, or see `convsmith train --out x`."
    assert error.on_command_line == "x is taken\nChoose another with --out, or see `convsmith train --out x`."


@pytest.mark.parametrize(
    ("option", "argument"),
    [
        ("--finetune runs/x besides.", "weights='runs/x' besides."), ("--finetune RUN.", "weights=RUN."),
        ("--finetune '/a b' and --out.", "weights='/a b' and out=."), ("--finetune.", "weights=."),
    ],
)  # fmt: skip
def test_in_python_a_path_after_an_option_is_quoted(option: str, argument: str) -> None:
    assert str(ConvsmithError("done", fix=option)) == f"done\n{argument}"


@pytest.mark.parametrize(
    ("number", "fix"), [(errno.ENOSPC, "Make room."), (errno.ENAMETOOLONG, "Choose a shorter name."), (errno.EPIPE, "")]
)
def test_what_the_system_refuses_names_the_file_the_reason_and_what_helps(number: int, fix: str) -> None:
    told = of_system(OSError(number, os.strerror(number), "runs/x/plan.json"))
    assert (told.what, told.why, told.fix) == ("runs/x/plan.json cannot be used", os.strerror(number), fix)


def test_what_could_not_be_done_comes_first_and_the_file_once() -> None:
    refused = OSError(errno.EIO, "Input/output error", "runs/x/plan.json")
    assert str(of_system(refused, "the run cannot be written")).startswith(
        "the run cannot be written: runs/x/plan.json: Input/output error"
    )
    assert of_system(refused, "cannot write runs/x/plan.json").why == "Input/output error"


def test_a_word_as_long_as_a_book_is_compared_with_nothing() -> None:
    assert did_you_mean("sgd" * 100_000, ["sgd", "sgd" * 100_000]) == ""


def test_printable_text_can_be_written_as_utf8_and_shows_the_odd_bytes() -> None:
    assert printable(os.fsencode("größe/") + b"\xff.jpg") == "größe/\\udcff.jpg"


@pytest.mark.parametrize(("count", "said"), [(1, "`a`"), (3, "`a`, `b`, `c`"), (5, "`a`, `b`, `c` and 2 more")])
def test_quoted_names_are_cut_with_how_many_more_there_are(count: int, said: str) -> None:
    assert quoted("abcde"[:count], limit=3) == said


def test_ten_names_are_quoted_unless_more_or_fewer_are_asked_for() -> None:
    assert quoted("abcdefghij").count("`") == 20
    assert quoted("abcdefghijk").endswith("`j` and 1 more")


def test_the_exit_code_of_what_a_user_can_put_right_is_2() -> None:
    assert ConvsmithError("x").exit_code == 2


def test_a_request_that_names_no_file_is_refused_by_the_system() -> None:
    told = of_system(OSError(errno.ENOMEM, "Cannot allocate memory"))
    assert (told.what, told.why) == ("the system refuses a request", "Cannot allocate memory")
    assert told.fix.startswith("Memory is full")


@pytest.mark.parametrize(("length", "is_compared"), [(200, True), (201, False)])
def test_words_of_200_characters_are_compared(length: int, is_compared: bool) -> None:
    assert bool(did_you_mean("a" * length, ["a" * 200])) is is_compared
    assert bool(did_you_mean("a" * 200, ["a" * length])) is is_compared
