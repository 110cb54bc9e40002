"""The shapes that recipe and bundle share: the strict base of all models, and how an image becomes an input."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=4096)]  # pixels; a typing error shall not ask for a terabyte
Interpolation = Literal["nearest", "bilinear", "bicubic"]


class Section(BaseModel):
    """Base of all sections: strict about keys and types, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Preprocess(Section):
    """How an image becomes the model's input in validation, predict and serve: the same in all three."""

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
    interpolation: Interpolation = "bilinear"
    mean: tuple[Fraction, Fraction, Fraction] = Field(
        (0.485, 0.456, 0.406), description="Per-channel mean of images in 0 to 1."
    )
    std: tuple[Positive, Positive, Positive] = Field(
        (0.229, 0.224, 0.225), description="Per-channel standard deviation of images in 0 to 1."
    )

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
