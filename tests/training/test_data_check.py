from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.data.open_data import data_of_recipe
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.recipe.make_plan import make_plan
from convsmith.recipe.schema import Recipe
from convsmith.training.checkpoints.checkpoint import Checkpoint
from convsmith.training.data_check import check_data
from convsmith.training.model_plan import plan
from convsmith.training.progress import Progress
from convsmith.training.resume import progress_of
from convsmith.training.run import Run
from convsmith.training.session import Session
from tests.training.conftest import SMALL


def check(recipe: Recipe, root: Path, run_dir: Path, step: int = 0) -> None:
    """What comes before step `step` of a run."""
    run_dir.mkdir(exist_ok=True)
    dataset = data_of_recipe(recipe, root)
    progress = Progress(data_digest="", threads=1, precision="fp32", per_device_batch=8, step=step)
    numbers = make_plan(recipe, 1000)  # which the check does not heed
    check_data(
        Session(recipe=recipe, plan=numbers, dataset=dataset, run=Run(run_dir), world=World(), progress=progress)
    )


@pytest.fixture
def data(digits: Path, tmp_path: Path) -> Path:
    return shutil.copytree(digits, tmp_path / "data")


@pytest.fixture
def recipe() -> Recipe:
    return cs.load_recipe("digits", SMALL)


def overwrite(data: Path, name: str) -> None:
    """Put another image, of another size, in the place of one."""
    path = data / name
    path.write_bytes((data / "val" / "1" / "13.png").read_bytes() + b" ")


def state(digest: str) -> dict[str, object]:
    return {"data_digest": digest, "threads": 1, "precision": "fp32", "per_device_batch": 8, "step": 3}


@pytest.fixture
def begun(data: Path, recipe: Recipe, tmp_path: Path) -> Path:
    """The directory of a run before its first step."""
    check(recipe, data, tmp_path / "run")
    return tmp_path / "run"


def test_a_run_goes_on_with_the_same_files(data: Path, recipe: Recipe, begun: Path) -> None:
    check(recipe, data, begun, step=3)


def test_a_file_that_was_overwritten_since_is_named(data: Path, recipe: Recipe, begun: Path) -> None:
    overwrite(data, "train/0/05.png")
    for _ in range(2):  # the refusal does not make it known
        with pytest.raises(ConvsmithError, match=r"1 sample of .* changed since this run began, such as .*0/05.png"):
            check(recipe, data, begun, step=3)


def test_before_the_first_step_files_may_change(data: Path, recipe: Recipe, begun: Path) -> None:
    overwrite(data, "train/0/05.png")
    check(recipe, data, begun)


def test_a_resume_refuses_files_of_other_sizes(data: Path, recipe: Recipe, tmp_path: Path) -> None:
    numbers = plan(recipe, 48)
    begun = progress_of(None, recipe, numbers, data_of_recipe(recipe, data), World())
    overwrite(data, "val/2/14.png")
    checkpoint = Checkpoint(tmp_path, {}, state(begun.data_digest))
    with pytest.raises(ConvsmithError, match="the same names, but some were overwritten"):
        progress_of(checkpoint, recipe, numbers, data_of_recipe(recipe, data), World())


def test_a_run_that_knows_its_data_by_name_goes_on_and_knows_more(data: Path, recipe: Recipe, tmp_path: Path) -> None:
    dataset, numbers = data_of_recipe(recipe, data), plan(recipe, 48)
    checkpoint = Checkpoint(tmp_path, {}, state(dataset.names_digest))
    progress = progress_of(checkpoint, recipe, numbers, dataset, World())
    assert progress.data_digest.startswith(f"{dataset.names_digest} ")
