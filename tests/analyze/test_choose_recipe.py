"""Which recipe a folder of images gets, and what the command says of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from convsmith.analyze import choose_recipe as module
from convsmith.analyze.choose_recipe import choose_recipe
from convsmith.analyze.chosen import choose_for_run
from convsmith.bundle import decode
from convsmith.cli.main import main
from convsmith.data.image_folder import open_image_folder
from convsmith.errors import ConvsmithError
from convsmith.models.weights.published import Weights
from convsmith.recipe.load import load_recipe
from convsmith.recipe.schema import Recipe
from convsmith.training.run import Run


@pytest.fixture(autouse=True)
def weights_at_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Weights, "download", lambda self: tmp_path / "weights")


def photos(root: Path, side: int, **counts: int) -> Path:
    """Grey pictures, `side` pixels high and wider than that, so many of each class."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (side + 10, side), i % 256).save(root / label / f"{i:04}.png")
    return root


def test_few_photos_get_pretrained_weights(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=6, dog=4))
    assert (choice.recipe, choice.overrides) == ("finetune-small", ())
    assert choice.reasons[0] == "8 training images in 2 classes of 3 to 5"  # one of each class is held out
    assert "50 pixels" in choice.reasons[1]


def test_few_photos_are_trained_from_scratch_where_no_weights_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Weights) -> Path:
        raise ConvsmithError("cannot download it", "no connection")

    monkeypatch.setattr(Weights, "download", refuse)
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=6, dog=4))
    assert choice.recipe == "resnet18-folder"
    assert any("cannot download it (no connection)" in reason for reason in choice.reasons)


@pytest.mark.parametrize(("very_few", "few", "batch", "epochs"), [(9, 99, 16, 120), (8, 9, 32, 60), (8, 8, 64, 60)])
def test_from_scratch_fewer_photos_come_in_smaller_batches_at_the_rate_that_belongs_to_them(
    very_few: int, few: int, batch: int, epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Weights) -> Path:
        raise ConvsmithError("cannot download it", "no connection")

    monkeypatch.setattr(Weights, "download", refuse)
    monkeypatch.setattr(module, "VERY_FEW_IMAGES", very_few)
    monkeypatch.setattr(module, "FEW_IMAGES", few)
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=5, dog=5))  # one of each is held out
    chosen, usual = load_recipe(choice.recipe, choice.overrides), load_recipe("resnet18-folder")
    assert (chosen.batch.size, chosen.schedule.epochs) == (batch, epochs)
    assert chosen.optimizer.lr / chosen.batch.size == usual.optimizer.lr / usual.batch.size


def test_many_photos_are_trained_from_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW_IMAGES", 8)
    assert choose_recipe(photos(tmp_path / "photos", 50, cat=6, dog=4)).recipe == "resnet18-folder"


def test_many_photos_with_rare_classes_get_the_recipe_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW_IMAGES", 8)
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=22, dog=3))
    assert (choice.recipe, choice.overrides) == ("imbalanced", ())
    assert any("10 times" in reason for reason in choice.reasons)


def test_other_recipes_are_balanced_as_the_one_for_rare_classes_is(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=22, dog=3))
    balanced, imbalanced = load_recipe(choice.recipe, choice.overrides), load_recipe("imbalanced")
    assert choice.recipe == "finetune-small"
    assert (balanced.sampling, balanced.metric) == (imbalanced.sampling, imbalanced.metric)


def test_a_class_with_nine_times_as_many_images_is_left_as_it_is(tmp_path: Path) -> None:
    assert choose_recipe(photos(tmp_path / "photos", 50, cat=20, dog=3)).overrides == ()


def test_small_pictures_get_a_network_for_small_pictures_of_any_number_of_classes(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 40, cat=6, dog=4))
    recipe = load_recipe(choice.recipe, choice.overrides)
    assert (recipe.model.name, recipe.model.num_classes) == ("cifar_resnet20", None)
    assert recipe.batch.size == 32


def test_many_small_pictures_keep_the_recipe_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW_IMAGES", 8)
    choice = choose_recipe(photos(tmp_path / "photos", 40, cat=6, dog=4))
    assert choice.overrides == ("model.num_classes=null",)


def test_a_few_pictures_of_another_size_and_damaged_files_do_not_matter(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 50, cat=6, dog=6)
    (root / "cat" / "0001.png").write_bytes(b"no image")
    Image.new("L", (10, 10)).save(root / "dog" / "0001.png")
    assert choose_recipe(root).recipe == "finetune-small"


def test_images_of_which_none_can_be_read_are_an_error(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 50, cat=3, dog=3)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ConvsmithError, match=r"none of 4 images .*0000\.png: it is not an image of a known kind"):
        choose_recipe(root)


def test_images_that_need_a_package_say_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_can_read_heif", lambda: False)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for name in ("1.HEIC", "2.heic"):
            (tmp_path / label / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(ConvsmithError, match="a HEIC image needs the package `pillow_heif`") as caught:
        choose_recipe(tmp_path)
    assert "[heic]" in caught.value.fix


def scenes(root: Path, *sizes: tuple[int, int]) -> Path:
    """Grey pictures of these heights and widths with masks of two classes."""
    for folder in ("images", "masks"):
        (root / folder / "train").mkdir(parents=True)
        for i, (height, width) in enumerate(sizes):
            Image.new("L", (width, height), i % 2).save(root / folder / "train" / f"{i:02}.png")
    (root / "classes.txt").write_text("sky\nroad\n")
    return root


def test_images_with_masks_get_a_recipe_for_segmentation(tmp_path: Path) -> None:
    choice = choose_recipe(scenes(tmp_path / "scenes", *[(300, 400)] * 10))
    assert choice.recipe == "hrnet_w18_seg-folder"
    assert choice.reasons[0] == "9 training images with masks of 2 classes: segmentation"  # one is held out
    assert load_recipe(choice.recipe, choice.overrides).task == "segmentation"


@pytest.mark.parametrize(
    ("sizes", "crop"),
    [
        ([(300, 400)] * 5, (288, 384)),
        ([(300, 400)] * 3 + [(90, 90)] * 2, (288, 384)),
        ([(1024, 2048)] * 3, (512, 512)),
        ([(20, 300)] * 3, (64, 288)),
        ([(512, 511)] * 3, (512, 480)),
    ],
)
def test_crops_are_as_large_as_the_median_image_within_limits(
    tmp_path: Path, sizes: list[tuple[int, int]], crop: tuple[int, int]
) -> None:
    choice = choose_recipe(scenes(tmp_path / "scenes", *sizes))
    assert load_recipe(choice.recipe, choice.overrides).augment.size == crop


def test_scenes_keep_the_recipes_weights_where_they_can_be_had(tmp_path: Path) -> None:
    choice = choose_recipe(scenes(tmp_path / "scenes", *[(64, 64)] * 3))
    recipe = load_recipe(choice.recipe, choice.overrides)
    assert recipe.model.weights == load_recipe("hrnet_w18_seg-folder").model.weights is not None
    assert "the network knows ImageNet, which helps with any number of images" in choice.reasons


def test_scenes_are_trained_from_scratch_where_no_weights_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Weights) -> Path:
        raise ConvsmithError("cannot download it", "no connection")

    monkeypatch.setattr(Weights, "download", refuse)
    choice = choose_recipe(scenes(tmp_path / "scenes", *[(64, 64)] * 3))
    assert load_recipe(choice.recipe, choice.overrides).model.weights is None
    assert "from scratch: no pretrained weights, cannot download it (no connection)" in choice.reasons


def test_masks_without_names_of_their_classes_are_an_error(tmp_path: Path) -> None:
    (scenes(tmp_path / "scenes", *[(64, 64)] * 3) / "classes.txt").unlink()
    with pytest.raises(ConvsmithError, match="what are the classes"):
        choose_recipe(tmp_path / "scenes")


@pytest.mark.parametrize(("inside", "masks"), [("", "Masks"), ("", "annotations"), ("train", "masks")])
def test_images_beside_masks_of_other_names_are_no_two_classes(tmp_path: Path, inside: str, masks: str) -> None:
    photos(tmp_path / inside, 50, images=3, **{masks: 3})
    for path in (tmp_path / inside / masks).iterdir():
        path.rename(path.with_stem(f"{hash(path.name)}"))
    with pytest.raises(ConvsmithError, match="looks like data for segmentation") as caught:
        choose_recipe(tmp_path)
    assert f"`{masks}`" in caught.value.what
    assert "data.masks.images" in caught.value.fix


def arranged(root: Path, images: str, masks: str) -> Path:
    """The scenes as folders of these names, without names of their classes."""
    scenes(root, *[(64, 64)] * 4)
    (root / "classes.txt").unlink()
    for old, new in (("images", images), ("masks", masks)):
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old / "train").rename(root / new)
        (root / old).rmdir()
    return root


def test_masks_arranged_otherwise_get_the_keys_that_say_where_they_are(tmp_path: Path) -> None:
    choice = choose_recipe(arranged(tmp_path / "x", "img_dir/train", "ann_dir/train"), ["data.masks.classes=[a, b]"])
    recipe = load_recipe(choice.recipe, choice.overrides)
    assert recipe.data.masks is not None
    assert (recipe.data.masks.images, recipe.data.masks.masks) == ("img_dir/PART/*", "ann_dir/PART/*")


def test_what_is_wrong_with_masks_that_were_found_says_that_they_were(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="what are the classes") as caught:
        choose_recipe(arranged(tmp_path / "x", "train/img", "train/label"))
    assert "Taken for images and masks: 'data.masks.images=PART/img/*'" in caught.value.fix


def test_folders_that_are_said_to_be_classes_are(tmp_path: Path) -> None:
    photos(tmp_path, 50, images=6, masks=4)
    assert choose_recipe(tmp_path, ["model.num_classes=2"]).recipe == "finetune-small"


def test_a_class_called_masks_without_images_beside_it_is_a_class(tmp_path: Path) -> None:
    assert choose_recipe(photos(tmp_path / "photos", 50, masks=6, hats=4)).recipe == "finetune-small"


class Trained(Exception):
    """What the command would have trained: recipe, data, run directory."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`convsmith train` in an empty folder; it raises `Trained` in place of training."""

    def train_nothing(recipe: Recipe, data: Path, out: Path, **_options: object) -> Run:
        raise Trained(recipe, data, out)

    monkeypatch.setattr("convsmith.training.train.train", train_nothing)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["train", *arguments])


def test_the_command_trains_what_it_chose_and_says_why_and_how_to_name_it(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    photos(Path("some photos"), 50, cat=6, dog=4)
    with pytest.raises(Trained) as caught:
        command("some photos", "seed=7", "--out", "here")
    assert caught.value.args == (load_recipe("finetune-small", ["seed=7"]), Path("some photos"), Path("here"))
    *reasons, named = capsys.readouterr().err.splitlines()
    assert reasons == list(choose_recipe(Path("some photos")).reasons)
    assert named == "so: convsmith train finetune-small --data 'some photos' --out here seed=7"


def test_the_command_that_would_do_the_same_has_each_key_once(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    scenes(Path("scenes"), *[(64, 96)] * 3)
    with pytest.raises(Trained):
        command("scenes", "batch.size=2", "batch.size=3")
    words = [word.partition("=")[0] for word in shlex.split(capsys.readouterr().err.splitlines()[-1]) if "=" in word]
    assert len(words) == len(set(words))


def test_the_command_for_scenes_can_be_given_again(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    scenes(Path("scenes"), *[(64, 96)] * 3)
    with pytest.raises(Trained) as chosen:
        command("scenes")
    named = shlex.split(capsys.readouterr().err.splitlines()[-1])
    with pytest.raises(Trained) as again:
        command(*named[3:])
    assert again.value.args == chosen.value.args
    assert chosen.value.args[0].augment.size == (64, 96)


def test_the_named_command_trains_the_same(command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    photos(Path("icons"), 20, cat=22, dog=3)
    with pytest.raises(Trained) as chosen:
        command("icons", "schedule.epochs=3")
    named = shlex.split(capsys.readouterr().err.splitlines()[-1])
    assert named[:3] == ["so:", "convsmith", "train"]
    with pytest.raises(Trained) as again:
        command(*named[3:])
    assert again.value.args == chosen.value.args
    assert chosen.value.args[0].schedule.epochs == 3


@pytest.mark.parametrize("name", ["cats", "cars"])
def test_each_folder_has_a_run_of_its_own(name: str, command: Callable[..., None], tmp_path: Path) -> None:
    root = photos(tmp_path / "pictures" / name, 50, a=3, b=3)
    with pytest.raises(Trained) as caught:
        command(f"{root}/")
    assert caught.value.args[2] == Path("runs") / name


def test_a_folder_without_a_name_has_the_run_of_its_real_one(
    command: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos(tmp_path / "flowers", 50, a=3, b=3))
    with pytest.raises(Trained) as caught:
        command(".")
    assert caught.value.args[2] == Path("runs/flowers")


def test_a_run_of_the_former_default_directory_is_pointed_out(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    photos(Path("cats"), 50, a=3, b=3)
    Path("runs/finetune-small").mkdir(parents=True)
    Path("runs/finetune-small/recipe.yaml").write_text("a run")
    with pytest.raises(Trained):
        command("cats")
    assert "go on with it by --out runs/finetune-small" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("photos.zip", "Unpack the archive and give the folder."),
        ("photos.7z", "Unpack the archive and give the folder."),
        ("labels.xlsx", "Save the table as CSV, with a column `image` of paths and a column `label`"),
        ("train.parquet", "write each as a JPEG or PNG into a folder of its class"),
        ("https://example.com/photos.zip", "Download and unpack it, then give the folder."),
        ("ftp://bucket/photos", "ftp:/bucket/photos is an address on a network: data is a folder of this machine"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_what_is_no_folder_is_named_with_what_to_do(
    given: str, words: str, named: bool, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    if "://" not in given:
        Path(given).write_bytes(b"")
    with pytest.raises(ConvsmithError) as caught:
        open_image_folder(Path(given), 0.1)
    if not named:
        with pytest.raises(SystemExit, match="2"):
            command(given)
        assert words in capsys.readouterr().err.replace("\n", " ")
    assert words in str(caught.value).replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        (["."], "error: no class folders", "Put the images of each class"),
        ([".", "--data", "cat"], "error: `.` and --data cat are both", "Drop --data to train on `.`, or name a recipe"),
        (["nonexistent"], "error: `nonexistent` is not a packaged recipe", "`convsmith recipes` lists them"),
        (["digits"], "error: --data is missing: `digits` is a recipe", "Add the folder of images with --data."),
    ],
)
def test_what_cannot_be_trained_is_an_error_that_says_what_to_do(
    arguments: list[str], error: str, fix: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(*arguments)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(error)
    assert second.startswith(fix)


def test_a_recipe_counts_before_a_folder_of_its_name(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    photos(Path("digits"), 8, a=3, b=3)
    with pytest.raises(SystemExit, match="2"):
        command("digits")
    assert "To train on the folder of that name, write digits/." in capsys.readouterr().err
    with pytest.raises(Trained) as caught:
        command("digits/")
    assert caught.value.args[1] == Path("digits")


def test_boxes_beside_images_are_called_so(tmp_path: Path) -> None:
    for name in ("images", "annotations"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "0.png")
    (tmp_path / "annotations" / "0.xml").touch()
    with pytest.raises(ConvsmithError, match=r"(?s)`annotations` holds 1 \.xml.*Boxes and other annotations"):
        choose_recipe(tmp_path)


def test_a_run_goes_on_with_the_recipe_that_was_chosen_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = photos(tmp_path / "photos", 50, cat=6, dog=4), tmp_path / "run"
    with monkeypatch.context() as offline:
        offline.setattr(module, "_why_no_pretrained_weights", lambda recipe: "cannot download it")
        began = choose_for_run(data, out)
    (out / "checkpoints" / "step-00000001").mkdir()
    assert choose_recipe(data) != began
    assert choose_for_run(data, out) == began
    assert choose_for_run(data, out, ["seed=1"]) == began  # what differs is for the training to say


def test_what_has_not_begun_is_chosen_again_for_other_words_or_data(tmp_path: Path) -> None:
    data, out = photos(tmp_path / "photos", 50, cat=6, dog=4), tmp_path / "run"
    choose_for_run(data, out)
    small = photos(tmp_path / "icons", 20, cat=6, dog=4)
    assert choose_for_run(small, out) == choose_recipe(small)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"request": 1, "choice": 2}', "\x00"])
def test_a_record_of_the_choice_that_cannot_be_read_is_none(text: str, tmp_path: Path) -> None:
    data, out = photos(tmp_path / "photos", 50, cat=6, dog=4), tmp_path / "run"
    out.mkdir()
    (out / "chosen.json").write_text(text)
    assert choose_for_run(data, out) == choose_recipe(data)
