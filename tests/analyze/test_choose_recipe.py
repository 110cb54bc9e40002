"""Which recipe a folder of images gets, and what the command says of it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from convsmith.analyze import pick_recipe as module
from convsmith.analyze.choose_recipe import choose_recipe, recipe_for_data
from convsmith.analyze.chosen import choose_for_run
from convsmith.analyze.pick_recipe import pick_recipe
from convsmith.analyze.recipe_table import FASTER, PHOTOS, SCENES, SMALL_PHOTOS, RecipeRow
from convsmith.bundle.images import open_image
from convsmith.cli.main import main
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.split import Share
from convsmith.errors import ConvsmithError
from convsmith.models.registry import fetch_weights
from convsmith.models.weights import published
from convsmith.recipe.load import load_recipe, recipe_to_yaml
from convsmith.recipe.schema import Recipe
from convsmith.training.run import Run
from tests.conftest import REPOSITORY

TABLES = {"photos": PHOTOS, "small photos": SMALL_PHOTOS, "scenes": SCENES}


@pytest.fixture(autouse=True)
def on_a_cpu_with_weights_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "fetch_weights", lambda given, model: None)
    monkeypatch.setattr(module, "pick_device", lambda: torch.device("cpu"))


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(given: str, model: str) -> None:
        raise ConvsmithError("cannot download it", "no connection", "Put it there.")

    monkeypatch.setattr(module, "fetch_weights", refuse)


def photos(root: Path, side: int, **counts: int) -> Path:
    """Grey pictures, `side` pixels high and wider than that, so many of each class."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (side + 10, side), i % 256).save(root / label / f"{i:04}.png")
    return root


def test_few_photos_get_pretrained_weights(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=6, dog=4))
    assert (choice.recipe, choice.overrides) == ("finetune-mobilenet", ("schedule.epochs=100",))
    assert choice.reasons[0] == "8 training images in 2 classes of 3 to 5"  # one of each class is held out
    assert "50 pixels" in choice.reasons[1]
    assert choice.reasons[2] == "fewer than 300 images: small batches and many epochs, for enough steps"
    assert choice.reasons[4] == "it starts from torchvision/mobilenet_v3_large.IMAGENET1K_V2 (bsd-3-clause)"


@pytest.mark.parametrize("images", [10, 500, 3000, 20_000, 1_000_000])
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_any_number_of_images_starts_from_pretrained_weights(
    images: int, table: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "pick_device", lambda: torch.device(device))
    picked = pick_recipe(TABLES[table], images, ())
    assert load_recipe(picked.recipe, picked.overrides).model.weights is not None


@pytest.mark.parametrize(
    ("images", "recipe"), [(4999, "finetune-convnext_tiny"), (5000, "finetune-convnext_tiny-many")]
)
def test_a_gpu_gets_a_strong_network(images: int, recipe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "pick_device", lambda: torch.device("cuda"))
    picked = pick_recipe(PHOTOS, images, ())
    assert picked.recipe == recipe
    assert f"a GPU: a strong network, by {recipe}" in picked.reasons


def rows() -> list[RecipeRow]:
    return [row for table in TABLES.values() for row in table]


def test_each_recipe_of_the_table_is_one_that_its_words_fit() -> None:
    for line in {line for row in rows() for line in (*row.cpu, *row.gpu, row.scratch)}:
        recipe, *words = line.split()
        assert load_recipe(recipe, words)
    for recipe in {*FASTER, *FASTER.values()}:
        assert load_recipe(recipe).model.weights is not None


def test_the_docs_name_every_recipe_of_the_table() -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    missing = {line.split()[0] for row in rows() for line in (*row.cpu, *row.gpu, row.scratch)}
    assert {recipe for recipe in missing if f"`{recipe}`" not in page} == set()


@pytest.mark.usefixtures("no_weights")
def test_photos_are_trained_from_scratch_where_no_weights_can_be_had(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=6, dog=4))
    assert choice.recipe == "resnet18-folder"
    said = "from random weights, in place of finetune-mobilenet: cannot download it: no connection. Put it there."
    assert said in choice.reasons


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("images", "batch", "epochs"), [(299, 16, 120), (999, 16, 120), (4999, 32, 60), (5000, 64, 60)]
)
def test_from_scratch_fewer_photos_come_in_smaller_batches_at_the_rate_that_belongs_to_them(
    images: int, batch: int, epochs: int
) -> None:
    picked = pick_recipe(PHOTOS, images, ())
    chosen, usual = load_recipe(picked.recipe, picked.overrides), load_recipe("resnet18-folder")
    assert (chosen.batch.size, chosen.schedule.epochs) == (batch, epochs)
    assert chosen.optimizer.lr / chosen.batch.size == usual.optimizer.lr / usual.batch.size


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of both caches, which are empty, where the network is not to be used."""
    monkeypatch.setattr(module, "fetch_weights", fetch_weights)
    for variable, value in {"TORCH_HOME": tmp_path, "CONVSMITH_CACHE": tmp_path, "CONVSMITH_OFFLINE": "1"}.items():
        monkeypatch.setenv(variable, str(value))
    return tmp_path


def test_without_a_network_one_line_says_which_file_to_fetch_and_where_to_put_it(offline: Path) -> None:
    picked = pick_recipe(PHOTOS, 100, ())
    assert picked.recipe == "resnet18-folder"
    (line,) = [reason for reason in picked.reasons if "finetune-mobilenet" in reason]
    assert "https://download.pytorch.org/models/mobilenet_v3_large-5c1a4163.pth" in line
    assert line.endswith(f"put it at {offline / 'hub' / 'checkpoints' / 'mobilenet_v3_large-5c1a4163.pth'}")
    assert "\n" not in line


@pytest.mark.usefixtures("offline")
def test_weights_that_are_here_are_taken_where_those_of_the_first_choice_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = published.weights("resnet18.tv_v1").model_copy(update={"sha256": hashlib.sha256(b"weights").hexdigest()})
    here.path.parent.mkdir()
    here.path.write_bytes(b"weights")
    monkeypatch.setattr(published, "_published", lambda: {here.name: here})
    picked = pick_recipe(PHOTOS, 100, ())
    assert picked.recipe == "finetune-small"
    assert any("would have been finetune-mobilenet: mobilenet_v3_large" in reason for reason in picked.reasons)
    assert picked.reasons[-1] == "it starts from resnet18.tv_v1 (BSD-3-Clause)"


def test_who_wants_random_weights_gets_them() -> None:
    picked = pick_recipe(PHOTOS, 100, ["model.weights=null"])
    assert picked.recipe == "resnet18-folder"
    assert picked.reasons[-1] == "from random weights, as model.weights=null says"


def test_another_model_starts_from_its_own_weights() -> None:
    picked = pick_recipe(PHOTOS, 500, ["model.name=resnet50"])
    model = load_recipe(picked.recipe, [*picked.overrides, "model.name=resnet50"]).model
    assert (model.name, model.weights) == ("resnet50", "pretrained")
    assert picked.reasons[-1] == "it starts from resnet50.tv_v2 (BSD-3-Clause)"


@pytest.mark.parametrize(
    ("weights", "model"), [("convnext_tiny.fb_in1k", "convnext_tiny"), ("resnet18.pth", "resnet18")]
)
def test_named_weights_bring_their_model_and_a_file_is_taken_for_a_resnet18(weights: str, model: str) -> None:
    picked = pick_recipe(PHOTOS, 500, [f"model.weights={weights}"])
    assert load_recipe(picked.recipe, picked.overrides).model.name == model


def test_the_weights_of_a_run_bring_its_model(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    recipe = load_recipe("finetune-convnext_tiny")
    (run.path / "recipe.yaml").write_text(recipe_to_yaml(recipe))
    picked = pick_recipe(PHOTOS, 500, [f"model.weights={run.path}"])
    model = load_recipe(picked.recipe, picked.overrides).model
    assert (model.name, model.options) == ("convnext_tiny", recipe.model.options)


def test_the_weights_of_a_classifier_bring_a_decoder_for_scenes() -> None:
    picked = pick_recipe(SCENES, 500, ["model.weights=resnet50.tv_v2"])
    assert (picked.recipe, picked.overrides) == ("resnet50_upernet-folder", ())


def test_photos_with_rare_classes_get_a_recipe_for_that(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 50, cat=22, dog=3))
    balanced, imbalanced = load_recipe(choice.recipe, choice.overrides), load_recipe("imbalanced")
    assert choice.recipe == "finetune-mobilenet"
    assert (balanced.sampling, balanced.metric) == (imbalanced.sampling, imbalanced.metric)
    assert any("10 times" in reason for reason in choice.reasons)


@pytest.mark.usefixtures("no_weights")
def test_from_scratch_rare_classes_have_a_recipe_of_their_own(tmp_path: Path) -> None:
    assert choose_recipe(photos(tmp_path / "photos", 50, cat=22, dog=3)).recipe == "imbalanced"


def test_a_class_with_nine_times_as_many_images_is_left_as_it_is(tmp_path: Path) -> None:
    assert choose_recipe(photos(tmp_path / "photos", 50, cat=20, dog=3)).overrides == ("schedule.epochs=100",)


def test_small_pictures_get_a_network_for_small_pictures_of_any_number_of_classes(tmp_path: Path) -> None:
    choice = choose_recipe(photos(tmp_path / "photos", 40, cat=6, dog=4))
    recipe = load_recipe(choice.recipe, choice.overrides)
    assert (recipe.model.name, recipe.model.num_classes) == ("cifar_resnet20", None)
    assert recipe.batch.size == 32


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("images", [100, 10_000])
def test_small_pictures_are_of_any_number_of_classes_from_scratch_too(images: int) -> None:
    picked = pick_recipe(SMALL_PHOTOS, images, ())
    recipe = load_recipe(picked.recipe, picked.overrides)
    assert (recipe.model.name, recipe.model.num_classes, recipe.model.weights) == ("cifar_resnet20", None, None)


def test_a_few_pictures_of_another_size_and_damaged_files_do_not_matter(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 50, cat=6, dog=6)
    (root / "cat" / "0001.png").write_bytes(b"no image")
    Image.new("L", (10, 10)).save(root / "dog" / "0001.png")
    assert choose_recipe(root).recipe == "finetune-mobilenet"


def test_images_of_which_none_can_be_read_are_an_error(tmp_path: Path) -> None:
    root = photos(tmp_path / "photos", 50, cat=3, dog=3)
    for path in root.rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(ConvsmithError, match=r"none of 4 images .*0000\.png: it is not an image of a known kind"):
        choose_recipe(root)


def test_images_that_need_a_package_say_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_image, "_can_read_heif", lambda: False)
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


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("images", "batch"), [(149, 4), (150, 16)])
def test_few_images_with_masks_are_learned_from_in_small_batches(images: int, batch: int) -> None:
    picked = pick_recipe(SCENES, images, [])
    assert load_recipe(picked.recipe, picked.overrides).batch.size == batch


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
    assert "it starts from hrnet_w18.ms_in1k (MIT)" in choice.reasons


@pytest.mark.usefixtures("no_weights")
def test_scenes_are_trained_from_scratch_where_no_weights_can_be_had(tmp_path: Path) -> None:
    choice = choose_recipe(scenes(tmp_path / "scenes", *[(64, 64)] * 3))
    assert load_recipe(choice.recipe, choice.overrides).model.weights is None
    assert any("in place of hrnet_w18_seg-folder: cannot download it: no" in reason for reason in choice.reasons)


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
    assert choose_recipe(tmp_path, ["model.num_classes=2"]).recipe == "finetune-mobilenet"


def test_a_class_called_masks_without_images_beside_it_is_a_class(tmp_path: Path) -> None:
    assert choose_recipe(photos(tmp_path / "photos", 50, masks=6, hats=4)).recipe == "finetune-mobilenet"


class Trained(Exception):
    """The recipe, the data and the run directory that the command would have trained with."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """`convsmith train` in an empty folder; it raises `Trained` in place of training."""

    def train_nothing(recipe: Recipe, data: str | Path, out: Path, **_options: object) -> Run:
        raise Trained(recipe, Path(data), out)

    monkeypatch.setattr("convsmith.training.train.train", train_nothing)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: main(["train", *arguments])


def test_the_command_trains_what_it_chose_and_says_why_and_how_to_name_it(
    command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    photos(Path("some photos"), 50, cat=6, dog=4)
    with pytest.raises(Trained) as caught:
        command("some photos", "seed=7", "--out", "here")
    recipe = load_recipe("finetune-mobilenet", ["schedule.epochs=100", "seed=7"])
    assert caught.value.args == (recipe, Path("some photos"), Path("here"))
    *reasons, named = capsys.readouterr().err.splitlines()
    assert reasons == list(choose_recipe(Path("some photos")).reasons)
    assert named == "so: convsmith train finetune-mobilenet --data 'some photos' --out here schedule.epochs=100 seed=7"


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
    Path("runs/finetune-mobilenet").mkdir(parents=True)
    Path("runs/finetune-mobilenet/recipe.yaml").write_text("a run")
    with pytest.raises(Trained):
        command("cats")
    assert "go on with it by --out runs/finetune-mobilenet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("photos.zip", "Unpack the archive and give the folder."),
        ("photos.7z", "Unpack the archive and give the folder."),
        ("labels.xlsx", "Save the table as CSV, with a column `image` of paths and a column `label`"),
        ("train.tfrecord", "write each as a JPEG or PNG into a folder of its class"),
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
        open_image_folder(Path(given), Share(0.1))
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
    with pytest.raises(ConvsmithError, match=r"(?s)`annotations` holds 1 \.xml.*Boxes are not read"):
        choose_recipe(tmp_path)


def test_a_run_goes_on_with_the_recipe_that_was_chosen_when_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = photos(tmp_path / "photos", 50, cat=6, dog=4), tmp_path / "run"
    with monkeypatch.context() as offline:
        offline.setattr(module, "why_no_weights", lambda model: ConvsmithError("cannot download it"))
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


def labelled_table(root: Path, header: str, labels: tuple[str, ...]) -> Path:
    """A table of 48 photos, whose rows end in the labels in turn."""
    folder = photos(root, 50, cat=24, dog=24)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    rows = [f"{path},{labels[i % len(labels)]}" for i, path in enumerate(files)]
    (folder / "photos.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "photos.csv"


@pytest.mark.parametrize(
    ("header", "labels"), [("image,labels", ("cat|dog", "dog", "", "cat")), ("image,cat,dog", ("1,1", "0,1", "0,0"))]
)
def test_a_table_of_several_labels_gets_a_recipe_for_them(tmp_path: Path, header: str, labels: tuple[str, ...]) -> None:
    choice = choose_recipe(labelled_table(tmp_path / "photos", header, labels))
    recipe = load_recipe(choice.recipe, choice.overrides)
    assert (recipe.task, recipe.loss.name, recipe.metric) == ("multilabel", "binary_cross_entropy", "map_macro")


@pytest.mark.usefixtures("no_weights")
def test_from_scratch_several_labels_have_a_recipe_of_their_own(tmp_path: Path) -> None:
    choice = choose_recipe(labelled_table(tmp_path / "photos", "image,labels", ("cat|dog", "dog", "", "cat")))
    assert choice.recipe == "resnet18-multilabel"


def test_data_of_several_labels_are_read_by_a_recipe_for_them(tmp_path: Path) -> None:
    table = labelled_table(tmp_path / "photos", "image,labels", ("cat|dog", "dog", ""))
    assert recipe_for_data(table, None).task == "multilabel"
