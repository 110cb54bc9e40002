"""HRNet's crop: the image at a random scale, padded and cropped (HRNet-Semantic-Segmentation, base_dataset.py)."""

from __future__ import annotations

from collections.abc import Iterator

from torchvision.transforms import InterpolationMode

from convsmith.data.augment.draws import below, uniform
from convsmith.data.augment.geometry import Change, Sample
from convsmith.data.augment.resized_part import box_anywhere, resized_part
from convsmith.recipe.augmentation import RandomScaleCrop
from convsmith.spec import Size


def random_scale_crop(crop: RandomScaleCrop) -> Change:
    """The function from a sample of any size to one of `crop.size`."""

    def scaled_and_cropped(sample: Sample) -> Sample:
        sizes = list(_first_sizes(crop, sample.size))
        before = sizes[-1] if sizes else sample.size
        longer = max(before)
        wanted = int((crop.base_size or longer) * random_scale(crop) + 0.5)
        height, width = size_of_side(before, longer, wanted)
        box = box_anywhere((max(height, crop.size[0]), max(width, crop.size[1])), crop.size)
        return resized_part(sample, [*sizes, (height, width)], box, InterpolationMode.BILINEAR, antialias=False)

    return scaled_and_cropped


def _first_sizes(crop: RandomScaleCrop, size: Size) -> Iterator[Size]:
    """The size, if any, that a sample has before the scale."""
    if crop.resize_first == "warp":
        yield crop.size
    elif crop.resize_first == "shorter_side":
        assert crop.base_size is not None  # the recipe's validator holds it
        yield size_of_side(size, min(size), crop.base_size)


def random_scale(crop: RandomScaleCrop) -> float:
    """One of the scales `low`, `low + scale_step` and so on to `high`; any from `low` to `high` where there is no step.

    Scales with steps are decimal numbers as they are written: 0.7, not 0.7000000000000001.
    """
    low, high = crop.scale
    if crop.scale_step:
        return round(low + crop.scale_step * below(crop.steps + 1), 9)
    return low + (high - low) * uniform()


def size_of_side(size: Size, side: int, wanted: int) -> Size:
    """Height and width, at least 1, of an image one of whose sides gets another length.

    Args:
        size: its height and width.
        side: the length of one side.
        wanted: what this side becomes; the other side is rounded half up.
    """
    height, width = (max(1, int(length * wanted / side + 0.5)) for length in size)
    return height, width
