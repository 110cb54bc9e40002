"""Sections of a recipe about images with masks: where they lie, and what the values in the masks mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from convsmith.recipe.unused import refuse_unused
from convsmith.spec import IGNORED, Section

MAX_CLASSES = IGNORED  # they are numbered 0 to 254
MAX_VALUE = 65535  # of a 16-bit mask
LIST_SUFFIXES = (".lst", ".txt")

Value = Annotated[int, Field(ge=0, le=MAX_VALUE)]
Level = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Level, Level, Level]
LayoutName = Literal[
    "folders",
    "cityscapes",
    "ade20k",
    "pascal_context_59",
    "pascal_context_60",
    "lip",
    "coco_stuff",
    "coco_stuff_164k",
    "voc",
    "camvid",
]


class Masks(Section):
    """Images with masks, for semantic segmentation: one class for each pixel."""

    layout: LayoutName = Field(
        "folders",
        description="`folders`: images/PART and masks/PART in the data folder, or what `images` and `masks` say. The "
        "others are published data sets as they unpack, with their own classes, colours and label ids.",
    )
    images: str = Field(
        "images/PART/*",
        description="Of `folders`: where images are. PART stands for the part's name, * for the path that image and "
        "mask have in common. What else names begin or end with goes beside it, as in photos/PART/*_rgb.",
    )
    masks: str = Field("masks/PART/*", description="Of `folders`: where masks are, as in labels/PART/*_mask.")
    images_dir: str | None = Field(
        None,
        description="Of `folders`, short for `images`: the folder of the images, as in photos for photos/PART/* or "
        "photos/*; a . is the data folder itself.",
    )
    masks_dir: str | None = Field(
        None, description="Of `folders`, short for `masks`: the folder of the masks; it may be that of the images."
    )
    mask_suffix: str | None = Field(
        None,
        description="Of `folders`: what the names of masks have behind those of their images, as in _mask, .tif or "
        "_mask.png. Without masks_dir, the masks are sought beside the images of images_dir.",
    )
    train: str = Field(
        "train",
        description="The part to train on: its name, or a list file (.lst, .txt) in the data folder with an image and "
        "its mask on each line; a + joins several, as in train+val.",
    )
    val: str | None = Field(
        "val", description="The part to validate on; null holds data.val_fraction of `train` out instead."
    )
    extra: str | None = Field(
        None, description="The part that the extra epochs of a schedule train on, such as train+val."
    )
    ignore_index: Value = Field(
        IGNORED, description="Value in the masks of pixels that do not count, unless label_map names it."
    )
    label_map: tuple[tuple[Value, Level], ...] | None = Field(
        None,
        description=f"Pairs [value in the masks, class], where class {IGNORED} does not count; null: a value is its "
        "class.",
    )
    others: Literal["error", "ignore"] = Field(
        "error", description="Values and colours in the masks that are not a class: an error, or they do not count."
    )
    unseen_classes: Literal["error", "allow"] = Field(
        "error", description="Classes that no pixel of the training masks has: an error, or allowed."
    )
    classes: tuple[str, ...] | None = Field(
        None, description="Names of the classes 0, 1, 2 ...; null: the lines of classes.txt in the data folder."
    )
    colours: tuple[Colour, ...] | None = Field(
        None,
        description="Red, green and blue of the values 0, 1, 2 ... in the masks: how RGB masks are read, and how "
        "predictions are drawn.",
    )

    @field_validator("train", "val", "extra")
    @classmethod
    def _parts_have_names(cls, parts: str | None) -> str | None:
        if parts is not None and not all(map(str.strip, parts.split("+"))):
            raise ValueError(f"{parts!r} does not name a part: write, for example, train, train+val or train.lst")
        return parts

    @field_validator("images", "masks")
    @classmethod
    def _patterns_name_files(cls, pattern: str) -> str:
        folder, _, name = pattern.rpartition("/")
        steps = folder.split("/")
        if name.count("*") != 1 or "*" in folder or {".", ".."} & set(steps) or (folder and not all(steps)):
            raise ValueError(f"{pattern!r} is not a pattern of files in the data folder: such as img/PART/*")
        return pattern

    @field_validator("images_dir", "masks_dir")
    @classmethod
    def _folders_lie_in_the_data(cls, folder: str | None) -> str | None:
        steps = [step for step in (folder or "").rstrip("/").split("/") if step != "."]
        if folder is not None and ("*" in folder or not folder or folder.startswith("/") or ".." in steps):
            raise ValueError(f"{folder!r} is not a folder in the data folder: such as photos, or . for itself")
        return None if folder is None else "/".join(steps) or "."

    @field_validator("mask_suffix")
    @classmethod
    def _suffix_is_of_names(cls, suffix: str | None) -> str | None:
        if suffix is not None and (not suffix or set("/*") & set(suffix)):
            raise ValueError(f"{suffix!r} is not the end of a name: such as _mask, .tif or _mask.png")
        return suffix

    @field_validator("classes")
    @classmethod
    def _classes_fit_a_mask(cls, classes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if classes is not None:
            check_class_names(classes)
        return classes

    @field_validator("colours")
    @classmethod
    def _colours_differ(cls, colours: tuple[Colour, ...] | None) -> tuple[Colour, ...] | None:
        if (twice := _first_twice(colours or ())) is not None:
            raise ValueError(f"the colour {list(twice)} stands twice, so it would mean two values")
        return colours

    @field_validator("label_map")
    @classmethod
    def _values_differ(cls, pairs: tuple[tuple[int, int], ...] | None) -> tuple[tuple[int, int], ...] | None:
        if (twice := _first_twice(value for value, _ in pairs or ())) is not None:
            raise ValueError(f"the value {twice} stands twice, so it would be two classes")
        return pairs

    @model_validator(mode="after")
    def _keys_agree(self) -> Masks:
        short = ("images_dir", "masks_dir", "mask_suffix")
        of_folders = ("images", "masks", "label_map", "classes", "colours", *short)
        refuse_unused(self, "layout", dict.fromkeys(of_folders, "folders"))
        for key, pattern in zip(short, ("images", "masks", "masks"), strict=True):
            default = type(self).model_fields[pattern].default
            if getattr(self, key) is not None and getattr(self, pattern) != default:
                raise ValueError(f"{key} and {pattern} say the same: leave one of them out")
        if ("PART" in self.image_pattern) != ("PART" in self.mask_pattern):
            raise ValueError("images and masks must both say where the name of a part stands (PART), or neither")
        if self.image_pattern == self.mask_pattern and "." in self.image_pattern.rpartition("*")[2]:
            raise ValueError(f"{self.image_pattern!r} would be both an image and its mask")
        if self.classes is not None:
            check_fit(self, len(self.classes))
        return self

    @property
    def image_pattern(self) -> str:
        """Where images are, as `images` says it, or `images_dir`."""
        return self.images if self.images_dir is None else _files_in(self.images_dir)

    @property
    def mask_pattern(self) -> str:
        """Where masks are, as `masks` says it, or `masks_dir` and `mask_suffix`."""
        beside = self.images_dir if self.mask_suffix is not None else None
        folder = self.masks_dir or beside
        return (self.masks if folder is None else _files_in(folder)) + (self.mask_suffix or "")


def _files_in(folder: str) -> str:
    """The pattern of the files in a folder of the data folder, with the parts in it unless it says where they are."""
    above = "" if folder == "." else f"{folder}/"
    return f"{above}*" if "PART" in folder else f"{above}PART/*"


def check_class_names(names: Sequence[str]) -> None:
    """ValueError if the names cannot be those of the classes in a mask: fewer than 2, more than 255, empty, twice."""
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"{len(names)} class names, but a mask tells 2 to {MAX_CLASSES} classes apart")
    check_names(names)


def check_names(names: Sequence[str]) -> None:
    """ValueError if one is empty, or stands twice."""
    if not all(map(str.strip, names)):
        raise ValueError("a class name is empty")
    if (twice := _first_twice(names)) is not None:
        raise ValueError(f"the class name `{twice}` stands twice")


def check_fit(masks: Masks, num_classes: int) -> None:
    """ValueError if `label_map` or `colours` do not fit the number of classes."""
    for value, target in masks.label_map or ():
        if target >= num_classes and target != IGNORED:
            raise ValueError(
                f"label_map says that the value {value} is class {target}, but the {num_classes} classes are 0 to "
                f"{num_classes - 1}, and {IGNORED} does not count"
            )
    if masks.colours is None:
        return
    shown = {target for value, target in masks.label_map if value < len(masks.colours)} if masks.label_map else None
    without = set(range(num_classes)) - (set(range(len(masks.colours))) if shown is None else shown)
    if without:
        raise ValueError(f"colours has none for the class {min(without)}: it is a list by the values in the masks")


def _first_twice(items: Iterable[Any]) -> Any:
    return next((item for item, count in Counter(items).items() if count > 1), None)
