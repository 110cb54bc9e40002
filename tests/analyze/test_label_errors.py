from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from convsmith.analyze.check_data import check_data
from convsmith.data.digest import data_digest
from convsmith.data.open_data import open_data
from convsmith.errors import ConvsmithError
from convsmith.recipe.data import Data
from tests.colours import LABELS, picture, write_colour_bundle


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Images of one colour in the folder of its name, for training 6 of each, for validation 3; in both a blue one
    lies among the red ones."""
    for split, count in (("train", 6), ("val", 3)):
        for label in LABELS:
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i}.png").write_bytes(picture(label, size=(20 + i, 16)))
        (tmp_path / "data" / split / "red/wrong.png").write_bytes(picture("blue", size=(40, 16)))
    return tmp_path / "data"


def trained_on(data: Path, folder: Path, section: Data) -> Path:
    """A bundle whose training split the data by that section."""
    dataset = open_data("classification", section, data)
    recipe = {"data": section.model_dump(mode="json")}
    return write_colour_bundle(folder, recipe=recipe, data_digest=data_digest(dataset))


def test_a_bundle_of_other_data_judges_all_labels(colours: Path, colour_bundle: Path) -> None:
    found = check_data(colours, bundles=[colour_bundle])
    assert found.label_errors is not None
    assert (found.label_errors.judged, found.label_errors.number) == (29, 2)
    names = [Path(error.name).relative_to(colours) for error in found.label_errors.errors]
    assert sorted(map(str, names)) == ["train/red/wrong.png", "val/red/wrong.png"]
    first = found.label_errors.errors[0]
    assert (first.label, first.likely) == ("red", "blue")
    assert first.label_probability < 0.01 < 0.99 < first.likely_probability
    assert any("was trained on other data" in note for note in found.notes)


def test_a_bundle_of_these_data_judges_what_its_training_held_out(colours: Path, tmp_path: Path) -> None:
    found = check_data(colours, bundles=[trained_on(colours, tmp_path / "bundle", Data())])
    assert found.label_errors is not None
    assert found.label_errors.judged == 10
    assert [error.name for error in found.label_errors.errors] == [f"{colours}/val/red/wrong.png"]
    assert not any("other data" in note for note in found.notes)


def test_bundles_of_all_folds_judge_every_image(colours: Path, tmp_path: Path) -> None:
    train = colours / "train"
    bundles = [trained_on(train, tmp_path / f"b{fold}", Data(folds=3, fold=fold)) for fold in range(3)]
    found = check_data(train, bundles=bundles)
    assert found.label_errors is not None
    assert (found.label_errors.judged, found.label_errors.number) == (19, 1)


def test_an_image_that_cannot_be_read_is_not_judged(colours: Path, colour_bundle: Path) -> None:
    (colours / "train/green/0.png").write_bytes(b"")
    found = check_data(colours, bundles=[colour_bundle])
    assert found.label_errors is not None
    assert (found.label_errors.judged, found.label_errors.number) == (28, 2)


def test_the_warning_and_the_table_name_the_image(colours: Path, colour_bundle: Path) -> None:
    printed = str(check_data(colours, bundles=[colour_bundle]))
    assert re.search(
        r"warning: 2 of 29 labels are probably wrong, such as .*wrong.png: `red`, probably `blue`", printed
    )


def test_a_network_of_other_data_judges_labels_by_its_embeddings(colours: Path, colour_bundle: Path) -> None:
    found = check_data(colours, embeddings=colour_bundle).label_errors
    assert found is not None
    assert found.judged == 29
    assert sorted(str(Path(error.name).relative_to(colours)) for error in found.errors) == [
        "train/red/wrong.png",
        "val/red/wrong.png",
    ]


def test_a_network_that_has_learned_these_labels_does_not_judge_them_by_embeddings(
    colours: Path, tmp_path: Path
) -> None:
    assert check_data(colours, embeddings=trained_on(colours, tmp_path / "bundle", Data())).label_errors is None


def test_a_model_that_has_learned_too_little_names_no_labels(colours: Path, tmp_path: Path) -> None:
    others = {"red": "green", "green": "blue", "blue": "red"}
    data = tmp_path / "turned"
    for split in ("train", "val"):
        for label, other in others.items():
            shutil.copytree(colours / split / label, data / split / other)
    found = check_data(data, bundles=[write_colour_bundle(tmp_path / "bundle")])
    assert found.label_errors is not None
    assert not found.label_errors.can_judge
    printed = str(found)
    assert "labels cannot be judged, since only 0% of the labels are what the models see" in printed
    assert "probably" not in printed


def test_a_bundle_without_these_classes_is_refused(colours: Path, colour_bundle: Path) -> None:
    for split in ("train", "val"):
        (colours / split / "red").rename(colours / split / "rose")
    with pytest.raises(ConvsmithError, match="it lacks the class `rose`"):
        check_data(colours, bundles=[colour_bundle])


def test_a_bundle_for_masks_cannot_judge_labels(colours: Path, pixel_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="it is for segmentation, and the data are for classification"):
        check_data(colours, bundles=[pixel_bundle])


def test_labels_of_images_with_several_are_not_judged(tmp_path: Path) -> None:
    rows = [f"{i}.png,{'red|blue' if i % 2 else 'green'}" for i in range(20)]
    for i in range(20):
        (tmp_path / f"{i}.png").write_bytes(picture("red", size=(20 + i, 16)))
    (tmp_path / "photos.csv").write_text("\n".join(["image,labels", *rows]))
    bundle = write_colour_bundle(tmp_path / "bundle", task="multilabel")
    with pytest.raises(ConvsmithError, match="images that have one class each"):
        check_data(tmp_path / "photos.csv", bundles=[bundle])
