"""The section of a recipe about batches whose images are mixed with each other."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from convsmith.spec import Fraction, NonNegative, Section


class Mixing(Section):
    """MixUp (Zhang et al. 2017, arXiv:1710.09412) and CutMix (Yun et al. 2019, arXiv:1905.04899) of a batch.

    One weight is drawn for a whole micro-batch. Labels are mixed likewise, after label smoothing.
    """

    mixup_alpha: NonNegative = Field(0.0, description="MixUp's weight is drawn from Beta(alpha, alpha); 0: no MixUp.")
    cutmix_alpha: NonNegative = Field(0.0, description="CutMix's share is drawn from Beta(alpha, alpha); 0: none.")
    probability: Fraction = Field(1.0, description="Share of batches that are mixed at all.")
    switch_probability: Fraction = Field(0.5, description="Share of CutMix among those, where both are on.")
    partner: Literal["rolled", "reversed", "random"] = Field(
        "rolled",
        description="Whom an image is mixed with: its neighbour (torchvision), the batch in reverse (timm, gluon), "
        "or a random permutation, which repeated augmentation needs in few micro-batches.",
    )
    off_epochs: Annotated[int, Field(ge=0)] = Field(0, description="Last epochs without mixing.")

    @model_validator(mode="after")
    def _something_is_mixed(self) -> Mixing:
        if not self.mixup_alpha and not self.cutmix_alpha:
            raise ValueError("one of mixup_alpha and cutmix_alpha must be above 0; mixing: null switches mixing off")
        return self
