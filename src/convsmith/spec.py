"""The shapes that recipe and bundle share: the strict base of all models, and how an image becomes an input."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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

    resize: Side = Field(description="Length in pixels that the shorter side is resized to.")
    crop: Side = Field(description="Side in pixels of the central square that the model sees.")
    interpolation: Interpolation = "bilinear"
    mean: tuple[Fraction, Fraction, Fraction] = Field(
        (0.485, 0.456, 0.406), description="Per-channel mean of images in 0 to 1."
    )
    std: tuple[Positive, Positive, Positive] = Field(
        (0.229, 0.224, 0.225), description="Per-channel standard deviation of images in 0 to 1."
    )
