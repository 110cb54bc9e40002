"""The shapes that recipe and bundle share: the strict base of all models, and how an image becomes an input."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels; a typing error must not ask for a terabyte
Interpolation = Literal["nearest", "bilinear", "bicubic"]
Size = tuple[Side, Side]  # height and width

MAX_CHANNELS = 1024
"""Most channels of an image: a typing error must not ask for a terabyte."""

IGNORED = 255
"""The value of a mask's pixels that count neither in a loss nor in a metric."""


class Section(BaseModel):
    """Base of all sections: strict about keys and types, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class Bands(NamedTuple):
    """The pixels that are read of an image file.

    Attributes:
        channels: how many numbers each pixel has.
        range: the values that become 0 and 255; None: bytes stay as they are, and of 16 bits it is the whole range.
    """

    channels: int = 3
    range: tuple[float, float] | None = None


RGB = Bands()


class _Normalised(Section):
    """The part of a preprocessing that is about the values of pixels."""

    mean: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=MAX_CHANNELS)] = Field(
        (0.485, 0.456, 0.406),
        description="Mean of each channel of images in 0 to 1. Where data.channels is not 3 and these are those of "
        "red, green and blue, mean and std are measured on training images before the first step.",
    )
    std: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=MAX_CHANNELS)] = Field(
        (0.229, 0.224, 0.225), description="Standard deviation of each channel of images in 0 to 1."
    )
    range: tuple[float, float] | None = Field(
        None,
        description="Values of image files that become 0 and 255, such as [0, 4095] for 12 bits kept in 16; what is "
        "beyond them is cut off. null: 8 bits stay as they are, 16 bits are scaled from 0 to 65,535.",
    )

    @property
    def bands(self) -> Bands:
        """The pixels that are read of an image file."""
        return Bands(len(self.mean), self.range)

    @model_validator(mode="after")
    def _channels_agree(self) -> Self:
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values, but std has {len(self.std)}: one for each channel")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range is [low, high], but {self.range[0]:g} is not below {self.range[1]:g}")
        return self


class Preprocess(_Normalised):
    """How an image becomes the model's input in validation, predict and serve: the same in all three."""

    filtered: ClassVar[bool] = True
    """Whether resizing takes the mean of pixels that come together, in training too."""
    mirrored_classes: ClassVar[tuple[tuple[int, int], ...]] = ()
    """See `WholeImage`: a class of an image has no side."""

    resize: Side = Field(
        description="Length in pixels that the shorter side is resized to, before the square is cut out. With "
        "`crop_then_resize` the square is `crop / resize` of the shorter side; with `warp` it equals `crop`."
    )
    crop: Side = Field(description="Side in pixels of the square that the model sees.")
    method: Literal["resize_then_crop", "crop_then_resize", "warp"] = Field(
        "resize_then_crop",
        description="`crop_then_resize` cuts out the central square first, then resizes that. `warp` cuts nothing off: "
        "it resizes both sides to `crop`.",
    )
    interpolation: Interpolation = Field("bilinear", description="How the image is resized.")

    def only_size(self, one_size: bool = False) -> Size | None:  # noqa: ARG002  # it always is
        """Height and width of all images that the model sees: the square."""
        return self.crop, self.crop

    @model_validator(mode="after")
    def _sizes_fit_the_method(self) -> Preprocess:
        if self.method == "warp" and self.resize != self.crop:
            raise ValueError(
                f"the method `warp` resizes both sides to `crop` ({self.crop}), so `resize` is {self.crop} too, "
                f"not {self.resize}"
            )
        if self.method == "crop_then_resize" and self.resize < self.crop:
            raise ValueError(
                "the method `crop_then_resize` cuts out `crop / resize` of the shorter side, so `resize` "
                f"({self.resize}) cannot be below `crop` ({self.crop})"
            )
        return self


class Window(Section):
    """Parts of a large image that are looked at one after another, because training saw no larger ones."""

    size: Size = Field(description="Height and width of a window in pixels.")
    stride: Size | None = Field(
        None, description="Height and width from one window to the next; null: two thirds of the size, rounded down."
    )
    border: Literal["pad", "shift"] = Field(
        "pad",
        description="Windows that reach over the right or lower border: `pad` fills the rest with black, `shift` moves "
        "them back inside (HRNet's rule for Cityscapes).",
    )
    above_scale: NonNegative = Field(
        0.0, description="Up to this scale the whole image is looked at all at once, without windows."
    )

    @model_validator(mode="after")
    def _windows_touch(self) -> Window:
        if self.stride is not None and any(step > side for step, side in zip(self.stride, self.size, strict=True)):
            raise ValueError(f"stride {list(self.stride)} is larger than size {list(self.size)}, and leaves gaps")
        return self


class WholeImage(_Normalised):
    """How an image of any size and shape is segmented, in validation, predict and serve: the same in all three.

    The answer always has the size of the image. Resizing is bilinear without a filter, as in OpenCV.
    """

    filtered: ClassVar[bool] = False
    """See `Preprocess`."""
    interpolation: ClassVar[Interpolation] = "bilinear"
    """In training too, where the augmentation names no other."""

    method: Literal["whole"]
    base_size: Side | None = Field(
        None,
        description="Length in pixels of the longer side at scale 1; null: the image's own. HRNet's TEST.BASE_SIZE.",
    )
    warp: bool = Field(
        False, description="Make both sides `base_size`, whatever the image's shape, as HRNet does with LIP."
    )
    scales: Annotated[tuple[Annotated[float, Field(gt=0, le=4)], ...], Field(min_length=1)] = Field(
        (1.0,), description="Sizes that the image is looked at in, relative to `base_size`; their answers are summed."
    )
    flip: bool = Field(False, description="Look at the mirrored image as well, and take the mean of the logits.")
    mirrored_classes: tuple[tuple[int, int], ...] = Field(
        (),
        description="Pairs of classes that change places when an image is mirrored, such as left and right arm; "
        "in training too.",
    )
    window: Window | None = None
    align_corners: bool = Field(
        False, description="Where `base_size` or `scales` resize: how the answers are brought to the image's size."
    )

    def only_size(self, one_size: bool = False) -> Size | None:
        """Height and width of all images that the model sees; None: they have any.

        Args:
            one_size: the model takes images of the window's size only.
        """
        return self.window.size if self.window and one_size else None

    def check_classes(self, num_classes: int) -> None:
        """ValueError if `mirrored_classes` names a class that is not below `num_classes`."""
        for pair in self.mirrored_classes:
            if not all(0 <= class_id < num_classes for class_id in pair):
                raise ValueError(f"mirrored_classes has the pair {list(pair)}, but classes are 0 to {num_classes - 1}")

    @model_validator(mode="after")
    def _warp_has_a_size(self) -> WholeImage:
        if self.warp and self.base_size is None:
            raise ValueError("warp makes both sides base_size, which is null: set base_size")
        return self


Preprocessing = Preprocess | WholeImage
"""From an image to the model's input; their `method` tells them apart."""


def whole_image(spec: Preprocessing) -> WholeImage:
    """The same specification, of a recipe or bundle that was checked to look at whole images."""
    assert isinstance(spec, WholeImage)
    return spec
