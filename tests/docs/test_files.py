"""The page of the files on the disk names all that convsmith really writes, and nothing that it does not know."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.analyze.report import make_report
from convsmith.data import kept_index
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack
from tests.conftest import REPOSITORY
from tests.training.conftest import SMALL, digits
from tests.training.tiny_model import name_tiny

__all__ = ["digits"]
REPORTS_AT_END = True
WORDS = (*SMALL, "model.name=tiny", "schedule.epochs=2")
MORE = ("data.cache=disk", "data.on_error=skip", "bundle.embeddings=true", "ema.decay=0.9", "checkpoint.keep=9")
OF_OTHERS = {"mlflow.json", "wandb.json", "wandb/", "slurm/", "forward_batch_limit"}
"""What a run has only of a tracker, of Slurm, or of too little memory."""


def section(title: str) -> str:
    """A part of the page."""
    text = (REPOSITORY / "docs/files.md").read_text("utf-8")
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(title: str, column: int = 1) -> list[str]:
    """What a column of the table there names; of numbers in names any."""
    cells = [row.split("|")[column] for row in section(title).splitlines() if row.startswith("| `")]
    return [re.sub("X+|NAME", "*", name) for cell in cells for name in re.findall("`(.+?)`", cell)]


@pytest.fixture(scope="module")
def place(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a run has all that can happen to one: a bad file, many images, more epochs, a way back, INT8."""
    folder = tmp_path_factory.mktemp("files")
    data = shutil.copytree(digits, folder / "digits")
    (data / "train/0/broken.png").write_bytes(b"not an image")
    for path, _, _ in os.walk(data):
        os.utime(path, (1, 1))  # a folder that has just changed is not relied on
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        patch.setattr(kept_index, "_WORTH", 5)
        patch.setattr(make_report, "_SECONDS", 0.001)
        patch.setenv("CONVSMITH_OFFLINE", "1")
        patch.setenv("CONVSMITH_CACHE", str(folder / "cache"))
        run = cs.make(data, folder / "run", [*WORDS, *MORE]).run
        cs.train(cs.Run(run).recipe, data, run, extend=1)
        cs.train(cs.Run(run).recipe, data, run, resume=min((run / "checkpoints").glob("step-*")))
        yield folder


@pytest.fixture(scope="module")
def written(place: Path) -> list[str]:
    """Files and folders in the run; of those in `checkpoints` the ones of each step too."""
    top = [f"{it.name}/" if it.is_dir() else it.name for it in (place / "run").iterdir()]
    steps = [f"checkpoints/{it.name}{'' if it.is_symlink() else '/'}" for it in (place / "run/checkpoints").iterdir()]
    return [*({*top} - {"checkpoints/"}), *steps]


@pytest.mark.slow
def test_all_that_a_run_holds_is_named(written: list[str]) -> None:
    assert [it for it in written if not any(fnmatchcase(it, name) for name in rows("A run"))] == []


@pytest.mark.slow
def test_all_that_is_named_is_in_a_run(written: list[str]) -> None:
    missing = {name for name in rows("A run") if not any(fnmatchcase(it, name) for it in written)}
    assert missing == OF_OTHERS


@pytest.mark.slow
def test_all_files_of_a_checkpoint_are_named(place: Path) -> None:
    files = {it.name for it in (place / "run/checkpoints/last").iterdir()}
    assert files == {*re.findall(r"`(\w+\.\w+)`", next(row for row in section("A run").splitlines() if "step-" in row))}


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["bundle", "bundle-int8"])
def test_all_files_of_a_bundle_are_named(bundle: str, place: Path) -> None:
    files = {it.name for it in (place / "run" / bundle).iterdir()}
    assert files <= {*re.findall(r"`(\w+\.\w+)`", section("A bundle"))}


@pytest.mark.slow
@pytest.mark.usefixtures("place")  # which names the network
def test_all_that_other_commands_write_is_named(digits: Path, tmp_path: Path) -> None:
    cs.ablate("digits", digits, tmp_path / "ablate", WORDS)
    cs.lr_find("digits", digits, tmp_path / "lr-find", overrides=WORDS)
    cs.profile("digits", digits, tmp_path / "profile", steps=1, overrides=WORDS)
    pack(open_data("classification", cs.load_recipe("digits").data, digits), tmp_path / "pack", 10_000)
    files = {it.name for name in ("ablate", "lr-find", "profile", "pack") for it in (tmp_path / name).glob("*.*")}
    assert len(files) >= 10
    named = rows("What other commands write", 2)
    assert [it for it in files if not any(fnmatchcase(it, name) for name in named)] == []


def test_every_folder_of_the_cache_is_named() -> None:
    source = "".join(file.read_text("utf-8") for file in (REPOSITORY / "src/convsmith").rglob("*.py"))
    assert {*rows("The cache")} == {f"{name}/" for name in re.findall(r'cache_folder\(\) / "(\w+)"', source)}
