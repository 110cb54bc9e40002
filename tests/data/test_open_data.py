"""Opening the data that a recipe or a bundle is for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from convsmith.bundle.format import read_manifest
from convsmith.bundle.images.limits import MAX_PIXELS_VARIABLE, max_pixels
from convsmith.data import sources
from convsmith.data.checks.check import check_files
from convsmith.data.digest import data_digest
from convsmith.data.open_data import data_of_bundle, data_of_recipe, judged_by, open_data
from convsmith.data.sources import list_sources
from convsmith.errors import ConvsmithError
from convsmith.machine import variables_kept
from convsmith.recipe.data import Data
from convsmith.recipe.load import load_recipe
from convsmith.waiting import read_timeout
from tests.data.folders import write_files, write_noise
from tests.data.masks import write_folders


def test_a_recipe_says_how_many_pixels_an_image_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "10")  # and it is put back afterwards
    data = write_noise(tmp_path, 4, size=(10, 8))
    refused = check_files(data_of_recipe(load_recipe("digits"), data).train)
    assert [bad.reason for bad in refused] == ["it has 10 x 8 = 80 pixels; 10 are allowed"] * 4
    assert not check_files(data_of_recipe(load_recipe("digits", ["data.max_pixels=80"]), data).train)


@pytest.mark.parametrize("before", ["10", None])
def test_what_a_recipe_says_of_pixels_ends_with_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", before or "")
    if before is None:
        monkeypatch.delenv("CONVSMITH_MAX_PIXELS")
    limit = max_pixels()
    with variables_kept(MAX_PIXELS_VARIABLE):
        data_of_recipe(load_recipe("digits", ["data.max_pixels=80"]), write_noise(tmp_path, 4))
        assert max_pixels() == 80
    assert max_pixels() == limit


@pytest.mark.parametrize(("override", "seconds"), [("5", 5), ("0", None), ("null", 7)])
def test_a_recipe_says_how_long_a_file_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, seconds: float | None
) -> None:
    monkeypatch.setenv("CONVSMITH_READ_TIMEOUT", "7")
    data_of_recipe(load_recipe("digits", [f"data.read_timeout={override}"]), write_noise(tmp_path, 4))
    assert read_timeout() == seconds


WITHOUT_TORCH = """
import sys
from pathlib import Path
sys.modules["torch"] = None
from convsmith.data.open_data import open_data
from convsmith.recipe.data import Data
from convsmith.waiting import read_timeout
data = open_data(sys.argv[1], Data.model_validate_json(sys.argv[2]), Path(sys.argv[3]))
print([data.val.read(i)[0].size for i in range(len(data.val))], *data.classes)
"""


def opened_without_torch(task: str, section: str, data: Path) -> str:
    """What a process without torch reads of the validation images: their sizes, and the classes."""
    words = [sys.executable, "-c", WITHOUT_TORCH, task, section, str(data)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout


def test_image_folders_are_opened_and_read_without_torch(tmp_path: Path) -> None:
    data = write_noise(tmp_path, 4, size=(10, 8))
    assert opened_without_torch("classification", "{}", data) == "[(10, 8), (10, 8)] c0 c1\n"


def test_mask_folders_are_opened_and_read_without_torch(tmp_path: Path) -> None:
    data = write_folders(tmp_path, "train/a", "val/b")
    assert opened_without_torch("segmentation", "{}", data) == "[(6, 4)] sky road car\n"


def test_data_of_a_task_that_no_source_has_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="holds no data for detection"):
        open_data("detection", Data(), tmp_path)


def test_each_file_of_the_sources_is_found() -> None:
    assert list_sources() == sorted(file.stem for file in Path(sources.__file__).parent.glob("[a-z]*.py"))


def test_a_bundle_finds_all_images_that_a_training_without_validation_learned_from(
    colour_bundle: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("digits", ["eval=false"])
    manifest = read_manifest(colour_bundle).model_copy(update={"recipe": recipe.model_dump(mode="json")})
    data = write_files(tmp_path, "red/1.png", "red/2.png", "green/1.png", "green/2.png")
    found = data_of_bundle(manifest, data)
    assert found.names_digest == data_of_recipe(recipe, data).names_digest
    assert (len(found.train), len(found.val)) == (4, 0)


def test_a_bundle_that_has_learned_from_all_images_is_judged_by_them_as_not_held_out(
    colour_bundle: Path, tmp_path: Path
) -> None:
    recipe = load_recipe("digits", ["eval=false"])
    data = write_files(tmp_path, "red/1.png", "red/2.png", "green/1.png", "green/2.png")
    digest = data_digest(data_of_recipe(recipe, data))
    changes = {"recipe": recipe.model_dump(mode="json"), "data_digest": digest}
    manifest = read_manifest(colour_bundle).model_copy(update=changes)
    judged = judged_by(manifest, data)
    assert (len(judged.samples), judged.held_out, judged.is_part) == (4, False, False)
