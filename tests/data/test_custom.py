"""A user's own function as a step of the augmentation."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from convsmith.data.augment.custom import CustomFailed, custom_digest, custom_step, try_custom
from convsmith.data.augment.geometry import Sample
from convsmith.data.augment.transform import pair_transform, train_transform
from convsmith.errors import ConvsmithError
from convsmith.recipe.augmentation import Augment, RandomCrop, RandomErasing, RandomScaleCrop
from convsmith.recipe.load import load_recipe
from convsmith.spec import Preprocess, WholeImage

HERE = "tests.data.own_transforms"
CROP = RandomCrop(size=8, padding=0)


def noise(height: int = 8, width: int = 8) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)


def augmented(custom: str, seed: int = 0, erasing: RandomErasing | None = None) -> torch.Tensor:
    torch.default_generator.manual_seed(seed)
    augment = Augment(random_crop=CROP, custom=f"{HERE}:{custom}", random_erasing=erasing)
    return train_transform(augment, Preprocess(resize=8, crop=8))(noise())


@pytest.mark.parametrize("name", ["inverted", "Namespace.inverted"])
def test_it_gets_the_image_as_rows_of_rgb_and_gives_what_is_learned_from(name: str) -> None:
    assert torch.equal(augmented(name), torch.from_numpy(255 - noise()).permute(2, 0, 1))


@pytest.mark.parametrize(("name", "value"), [("in_place", 7), ("read_only", 0)])
def test_it_may_write_into_the_image_and_return_what_cannot_be_written(name: str, value: int) -> None:
    assert {*augmented(name).flatten().tolist()} == {value}


def test_its_random_numbers_are_those_of_the_sample() -> None:
    assert torch.equal(augmented("speckle", 1), augmented("speckle", 1))
    assert not torch.equal(augmented("speckle", 1), augmented("speckle", 2))


def test_it_comes_before_random_erasing() -> None:
    image = augmented("in_place", erasing=RandomErasing(probability=1.0))
    assert len({*image.flatten().tolist()}) > 1


def test_image_and_mask_go_through_it_together() -> None:
    image = noise(8, 12)
    mask = image[..., 0] % 3
    augment = Augment(
        random_scale_crop=RandomScaleCrop(size=(8, 12), scale=(1, 1)), custom=f"{HERE}:turned", mask_downsample_rate=1
    )
    transform = pair_transform(augment, WholeImage(method="whole"))
    seen = set()
    for seed in range(8):
        torch.default_generator.manual_seed(seed)
        pixels, classes = transform(image.copy(), mask.copy())
        assert torch.equal(pixels[0] % 3, classes)
        seen.add(bool((classes == torch.from_numpy(mask)).all()))
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nowhere_module:f", r"`nowhere_module:f` cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:inverte", r"has no `inverte`; did you mean `inverted`\?"),
        (f"{HERE}:NUMBER", "is not a function: it is a value of type int"),
        (f"{HERE}:cut", r"returned uint8 \[7, 8, 3\]: what is learned from is uint8 \[8, 8, 3\]"),
        (f"{HERE}:floats", r"returned float64 \[8, 8, 3\]"),
        (f"{HERE}:nothing", "returned a value of type NoneType"),
        (f"{HERE}:crash", "failed: ZeroDivisionError: no scale"),
        (f"{HERE}:turned", "failed: TypeError: .*\nIt is called as image = function"),
        (f"{HERE}:counting", "different results for the same image"),
    ],
)
def test_what_cannot_be_used_is_an_error_of_its_key_before_the_first_step(name: str, what: str) -> None:
    with pytest.raises(CustomFailed, match=f"augment.custom: .*{what}"):
        try_custom(name, (8, 8), with_mask=False)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("image_alone", r"returned uint8 \[8, 8, 3\]: what is learned from is uint8 \[8, 8, 3\] and uint8 \[8, 8\]"),
        ("blurred_mask", "puts the class 127 into a mask"),
        ("speckle", r"It is called as image, mask = function\(image, mask, rng\)"),
    ],
)
def test_with_masks_both_have_to_come_back_and_classes_stay_classes(name: str, what: str) -> None:
    with pytest.raises(CustomFailed, match=what):
        try_custom(f"{HERE}:{name}", (8, 8), with_mask=True)


@pytest.mark.parametrize(("name", "with_mask"), [("speckle", False), ("turned", True), ("inverted", True)])
def test_what_can_be_used_passes_and_draws_nothing_of_the_process(name: str, with_mask: bool) -> None:
    before = torch.get_rng_state()
    try_custom(f"{HERE}:{name}", (8, 6), with_mask)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_failure_says_on_which_image_it_was(tmp_path: Path) -> None:
    step = custom_step(f"{HERE}:crash_on_black")
    with pytest.raises(CustomFailed) as failed:
        step(Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), None))
    assert "failed, on cat/1.png: ValueError: a black image" in str(failed.value.on("cat/1.png"))


def test_a_module_of_the_current_directory_is_found_where_python_finds_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "module_of_mine.py").write_text("def f(image, rng): return image")
    (tmp_path / "json.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = [*sys.path]
    try_custom("module_of_mine:f", (8, 8), with_mask=False)
    assert sys.path == before
    with pytest.raises(CustomFailed, match="`json` has no `f`"):
        custom_step("json:f")


def test_the_digest_changes_with_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "changing_module.py"
    file.write_text("def f(image, rng): return image")
    monkeypatch.syspath_prepend(tmp_path)
    before = custom_digest("changing_module:f")
    assert custom_digest("changing_module:f") == before
    file.write_text("def f(image, rng): return 255 - image")
    assert custom_digest("changing_module:f") != before


@pytest.mark.parametrize("name", ["sharpen", "a:b:c", "a.b:", ":f", "a b:c", "os.system('x'):f", "../a:f"])
def test_what_names_no_function_is_refused_by_the_recipe(name: str) -> None:
    with pytest.raises(ConvsmithError, match="which is not MODULE:FUNCTION"):
        load_recipe("digits", [f'augment.custom="{name}"'])


def test_a_recipe_is_read_printed_and_planned_without_running_what_it_names() -> None:
    from convsmith.recipe.load import recipe_to_yaml
    from convsmith.recipe.make_plan import make_plan

    recipe = load_recipe("digits", ["augment.custom=not_imported_by_plan:f"])
    assert "custom: not_imported_by_plan:f" in recipe_to_yaml(recipe)
    assert "not_imported_by_plan:f, as augment.custom" in str(make_plan(recipe, 100))
