"""HRNet's crop: the image at a random scale, padded and cropped (HRNet-Semantic-Segmentation, base_dataset.py)."""

from __future__ import annotations

from torchvision.transforms import InterpolationMode

from convsmith.data.draws import below, uniform
from convsmith.data.geometry import Sample, Step, cut_anywhere, padded, resized
from convsmith.recipe.augmentation import RandomScaleCrop
from convsmith.spec import Size


def random_scale_crop(crop: RandomScaleCrop) -> Step:
    """The function from a sample of any size to one of `crop.size`.

    Raises (the function):
        ImageTooLarge: the scaled image would have too many pixels.
    """

    def scaled_and_cropped(sample: Sample) -> Sample:
        if crop.resize_first == "warp":
            sample = _bilinear(sample, crop.size)
        elif crop.resize_first == "shorter_side":
            assert crop.base_size is not None  # the recipe's validator holds it
            sample = _bilinear(sample, size_of_side(sample.size, min(sample.size), crop.base_size))
        longer = max(sample.size)
        wanted = int((crop.base_size or longer) * random_scale(crop) + 0.5)
        height, width = size_of_side(sample.size, longer, wanted)
        sample = _bilinear(sample, (height, width))
        sample = padded(sample, 0, max(0, crop.size[1] - width), 0, max(0, crop.size[0] - height))
        return cut_anywhere(sample, crop.size)

    return scaled_and_cropped


def random_scale(crop: RandomScaleCrop) -> float:
    """One of the scales `low`, `low + scale_step` and so on to `high`; any from `low` to `high` where there is no step.

    Scales with steps are decimal numbers as they are written: 0.7, not 0.7000000000000001.
    """
    low, high = crop.scale
    if crop.scale_step:
        return round(low + crop.scale_step * below(crop.steps + 1), 9)
    return low + (high - low) * uniform()


def size_of_side(size: Size, side: int, wanted: int) -> Size:
    """Height and width, at least 1, of an image one of whose sides shall have another length.

    Args:
        size: its height and width.
        side: the length of one side.
        wanted: what this shall be; the other side is rounded half up.
    """
    height, width = (max(1, int(length * wanted / side + 0.5)) for length in size)
    return height, width


def _bilinear(sample: Sample, size: Size) -> Sample:
    return resized(sample, size, InterpolationMode.BILINEAR, antialias=False)
