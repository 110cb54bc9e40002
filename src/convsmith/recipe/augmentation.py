"""The section of a recipe about the augmentation of training images, and those of its steps."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from convsmith.spec import Count, Fraction, Interpolation, NonNegative, Positive, Section, Share, Side, Size

Scale = Annotated[float, Field(gt=0, le=4)]


def _check_ranges(section: Section, *names: str) -> None:
    for name in names:
        low, high = getattr(section, name)
        if low > high:
            raise ValueError(f"{name} is a range [low, high], but {low} is above {high}")


class RandomResizedCrop(Section):
    """A random area of the image, resized (Inception's augmentation)."""

    size: Side = Field(description="Side of the training image in pixels.")
    scale: tuple[Positive, Positive] = Field((0.08, 1.0), description="Range of the area, relative to the image.")
    ratio: tuple[Positive, Positive] = Field((3 / 4, 4 / 3), description="Range of the aspect ratio.")
    interpolation: Interpolation = Field("bilinear", description="How the area is resized.")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> RandomResizedCrop:
        _check_ranges(self, "scale", "ratio")
        return self


class EfficientNetCrop(Section):
    """EfficientNet's random crop, resized: ResNeSt trains with it at 320 pixels and more (its ERandomCrop).

    The aspect ratio is uniform, the height uniform in what the range of areas allows; after 10 rejected draws the
    centre is taken.
    """

    size: Side = Field(description="Side of the training image in pixels.")
    area: tuple[Positive, Positive] = Field((0.1, 1.0), description="Range of the area, relative to the image.")
    min_covered: Fraction = Field(0.1, description="A smaller share of the image is drawn again, whatever area says.")
    ratio: tuple[Positive, Positive] = Field((3 / 4, 4 / 3), description="Range of the aspect ratio.")
    interpolation: Interpolation = Field("bicubic", description="How the area is resized.")

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> EfficientNetCrop:
        _check_ranges(self, "area", "ratio")
        if self.min_covered > self.area[1]:
            raise ValueError(
                f"min_covered ({self.min_covered:g}) is above area ({self.area[1]:g}), so no part would do"
            )
        return self


class RandomCrop(Section):
    """The image resized to a shorter side of `size`, padded with black and cropped at a random place (as for CIFAR)."""

    size: Side = Field(description="Side of the training image in pixels.")
    padding: Annotated[int, Field(ge=0, le=4096)] = Field(4, description="Pixels added on each side.")


class RandomScaleCrop(Section):
    """The image at a random scale, padded at the right and at the bottom and cropped at a random place (HRNet's).

    The longer side becomes `base_size` times the scale. Padding is black, and ignored in a mask. Resizing is bilinear
    without a filter, as in OpenCV. HRNet's SCALE_FACTOR 16 is the default `scale`, 11 is [0.5, 1.6].
    """

    size: Size = Field(description="Height and width of the training image in pixels.")
    resize_first: Literal["shorter_side", "warp"] | None = Field(
        None,
        description="What comes before the scale: `shorter_side` resizes the shorter side to `base_size` (HRNet's for "
        "ADE20K, PASCAL-Context and COCO-Stuff), `warp` both sides to `size` (LIP); null: nothing (Cityscapes).",
    )
    base_size: Side | None = Field(
        None,
        description="Length in pixels of the longer side at scale 1; null: the image's own. HRNet's TRAIN.BASE_SIZE.",
    )
    scale: tuple[Scale, Scale] = Field((0.5, 2.1), description="Range of the scale.")
    scale_step: NonNegative = Field(
        0.1, description="From one scale to the next, all of them equally likely; 0: any scale of the range."
    )

    @model_validator(mode="after")
    def _scales_fit(self) -> RandomScaleCrop:
        _check_ranges(self, "scale")
        (low, high), step = self.scale, self.scale_step
        if 0 < step < 0.001:
            raise ValueError(f"scale_step ({step:g}) is as good as none: set 0, which means any scale of the range")
        if step and abs(self.steps - (high - low) / step) > 1e-6:
            end = low + step * int((high - low) / step)
            raise ValueError(
                f"scale reaches from {low:g} to {high:g}, which is not a whole number of steps of {step:g}: "
                f"end it at {end:g}, or set another scale_step"
            )
        if self.resize_first == "shorter_side" and self.base_size is None:
            raise ValueError("resize_first resizes the shorter side to base_size, which is null: set base_size")
        return self

    @property
    def steps(self) -> int:
        """How many steps there are from the smallest scale to the largest; 0 where scales have no steps."""
        low, high = self.scale
        return round((high - low) / self.scale_step) if self.scale_step else 0


class _Policy(Section):
    before_crop: bool = Field(False, description="Change the whole image, before it is cropped (as ResNeSt does).")


class _TorchvisionPolicy(_Policy):
    interpolation: Interpolation = Field("bilinear", description="Of rotations, shears and translations.")


class AutoAugment(_TorchvisionPolicy):
    """A learned list of pairs of operations (Cubuk et al. 2018, arXiv:1805.09501), as in torchvision."""

    name: Literal["auto_augment"]
    learned_on: Literal["imagenet", "cifar10", "svhn"] = Field(
        "imagenet", description="The images that the list was learned on."
    )


class ResNeStAutoAugment(_Policy):
    """AutoAugment with the stronger operations that ResNeSt was trained with; learned on ImageNet."""

    name: Literal["resnest_auto_augment"]


class RandAugment(_TorchvisionPolicy):
    """Random operations of one magnitude, as in torchvision (Cubuk et al. 2019, arXiv:1909.13719)."""

    name: Literal["rand_augment"]
    num_ops: Count = Field(2, description="Operations on each image.")
    magnitude: Annotated[int, Field(ge=0, le=30)] = Field(9, description="Strength, of 31 levels.")


class TimmRandAugment(_Policy):
    """RandAugment as timm has it, which ConvNeXt was trained with: `rand-m9-mstd0.5-inc1` is these defaults."""

    name: Literal["timm_rand_augment"]
    num_ops: Count = Field(2, description="Operations on each image.")
    magnitude: Annotated[float, Field(ge=0, le=10)] = Field(9.0, description="Mean strength, 0 to 10.")
    magnitude_std: NonNegative = Field(0.5, description="Standard deviation of the strength.")
    increasing: bool = Field(True, description="Use operations whose severity grows with the strength (`inc1`).")
    probability: Fraction = Field(0.5, description="Probability of each drawn operation to be applied.")
    interpolation: Literal["bilinear", "bicubic", "random"] = Field(
        "random", description="Of rotations, shears and translations; `random` draws bilinear or bicubic each time."
    )


class TrivialAugment(_TorchvisionPolicy):
    """One operation of a random strength from a wide range (Mueller and Hutter 2021, arXiv:2103.10158)."""

    name: Literal["trivial_augment"]


class AugMix(_Policy):
    """A mixture of chains of operations with the image itself (Hendrycks et al. 2019, arXiv:1912.02781)."""

    name: Literal["augmix"]
    severity: Annotated[int, Field(ge=1, le=10)] = Field(3, description="Strength of the operations.")
    width: Count = Field(3, description="Chains of operations.")
    alpha: Positive = Field(1.0, description="Parameter of the Dirichlet and Beta distributions of the weights.")
    interpolation: Literal["nearest", "bilinear"] = Field(
        "bilinear", description="Of rotations, shears and translations."
    )


Policy = Annotated[
    AutoAugment | ResNeStAutoAugment | RandAugment | TimmRandAugment | TrivialAugment | AugMix,
    Field(discriminator="name", description="Operations on colour and shape; `name` says which kind."),
]


class ColorJitter(Section):
    """Random factors from [max(0, 1 - x), 1 + x] for brightness, contrast and saturation, in a random order."""

    brightness: NonNegative = Field(0.0, description="x of the brightness's factor; 0: it stays as it is.")
    contrast: NonNegative = Field(0.0, description="x of the contrast's factor; 0: it stays as it is.")
    saturation: NonNegative = Field(0.0, description="x of the saturation's factor; 0: it stays as it is.")
    hue: Annotated[float, Field(ge=0, le=0.5)] = Field(0.0, description="Largest shift, in turns of the colour circle.")

    @model_validator(mode="after")
    def _something_changes(self) -> ColorJitter:
        if not (self.brightness or self.contrast or self.saturation or self.hue):
            raise ValueError("brightness, contrast, saturation and hue are all 0: set one, or color_jitter: null")
        return self


class RandomErasing(Section):
    """A random rectangle is overwritten (Zhong et al. 2017, arXiv:1708.04896).

    `mean` is what a zero after normalisation is, `noise` a normal distribution around it for each pixel and channel
    (timm's `pixel`); both as bytes, so noise beyond black and white is cut off.
    """

    probability: Fraction = Field(description="Share of images with a rectangle.")
    scale: tuple[Share, Share] = Field((0.02, 0.33), description="Range of its area, relative to the image.")
    ratio: tuple[Positive, Positive] = Field((0.3, 3.3), description="Range of its aspect ratio.")
    value: Literal["mean", "noise"] = Field(
        "mean", description="What is written: the mean of all images, or noise around it for each pixel and channel."
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> RandomErasing:
        _check_ranges(self, "scale", "ratio")
        return self


class Augment(Section):
    """The steps of a training image's augmentation, in this order. A step that is null or 0 is left out."""

    random_resized_crop: RandomResizedCrop | None = None
    efficientnet_crop: EfficientNetCrop | None = None
    random_crop: RandomCrop | None = None
    random_scale_crop: RandomScaleCrop | None = None
    hflip: Fraction = Field(0.0, description="Probability of a left-right flip.")
    vflip: Fraction = Field(0.0, description="Probability of an upside-down flip.")
    policy: Policy | None = None
    color_jitter: ColorJitter | None = None
    lighting: NonNegative = Field(
        0.0,
        description="Standard deviation of the shift along the principal components of ImageNet's colours "
        "(AlexNet's PCA noise; usually 0.1).",
    )
    brightness_shift: Annotated[int, Field(ge=0, le=255)] = Field(
        0,
        description="Largest whole number that is added to all pixels, or taken from them, in half of the images "
        "(HRNet's; 10 there).",
    )
    custom: str | None = Field(
        None,
        description="A function of yours, as MODULE:FUNCTION: image = function(image, rng), or image, mask = "
        "function(image, mask, rng), arrays of uint8. It is code, which runs when the recipe is trained.",
    )
    random_erasing: RandomErasing | None = None
    mask_downsample_rate: Share = Field(
        1.0, description="Height and width of the training mask, relative to the training image (HRNet's)."
    )

    @field_validator("custom")
    @classmethod
    def _custom_names_a_function(cls, name: str | None) -> str | None:
        module, _, function = (name or "a:b").partition(":")
        if not all(part.isidentifier() for path in (module, function) for part in path.split(".")):
            raise ValueError(f"custom is `{name}`, which is not MODULE:FUNCTION, such as mytransforms:sharpen")
        return name

    @model_validator(mode="after")
    def _exactly_one_crop(self) -> Augment:
        if sum(crop is not None for crop in self._crops) != 1:
            raise ValueError(
                "a training image is made by exactly one of random_resized_crop, efficientnet_crop, random_crop and "
                "random_scale_crop; set one and put null on the others"
            )
        return self

    @property
    def _crops(self) -> tuple[RandomResizedCrop | EfficientNetCrop | RandomCrop | RandomScaleCrop | None, ...]:
        return self.random_resized_crop, self.efficientnet_crop, self.random_crop, self.random_scale_crop

    @property
    def size(self) -> Size:
        """Height and width of the training image in pixels."""
        (size,) = (crop.size for crop in self._crops if crop is not None)
        return size if isinstance(size, tuple) else (size, size)

    @property
    def mask_size(self) -> Size:
        """Height and width of the training mask in pixels."""
        height, width = (max(1, round(side * self.mask_downsample_rate)) for side in self.size)
        return height, width
