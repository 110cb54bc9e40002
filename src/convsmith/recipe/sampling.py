"""The section of a recipe about which training images come how often."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from convsmith.recipe.rarity import Rarity
from convsmith.recipe.unused import refuse_unused
from convsmith.spec import Section, Share


class _Sampling(Section):
    fraction: Share = Field(
        1.0, description="Share of the training images that is used at all: the same ones in every epoch."
    )


class Plain(_Sampling):
    """Each image once an epoch, in an order of its own."""

    name: Literal["plain"] = "plain"


class RepeatedAugmentation(_Sampling):
    """Each image several times in a row, differently augmented (Hoffer et al. 2019, arXiv:1901.09335; torchvision).

    An epoch is as long as without: it sees one image in `repetitions`. Copies of an image go to different
    micro-batches, as far as there are any; those in one lie side by side.
    """

    name: Literal["repeated"]
    repetitions: Annotated[int, Field(ge=2)] = Field(3, description="How many times in a row.")


class Balanced(_Sampling):
    """Images drawn with replacement, classes weighted by how rare they are."""

    name: Literal["balanced"]
    weights: Rarity = Field(
        "inverse",
        description="A class of n images is drawn in proportion to n times 1/n, 1/sqrt(n), or "
        "(1 - beta) / (1 - beta^n) (Cui et al. 2019, arXiv:1901.05555).",
    )
    beta: Annotated[float, Field(ge=0, lt=1)] = Field(0.999, description="Of the effective number.")

    @model_validator(mode="after")
    def _beta_counts(self) -> Balanced:
        refuse_unused(self, "weights", {"beta": "effective_number"})
        return self


class Weighted(_Sampling):
    """Images drawn with replacement, each in proportion to its weight, which a table has in the column `weight`."""

    name: Literal["weighted"]


Sampling = Annotated[
    Plain | RepeatedAugmentation | Balanced | Weighted,
    Field(discriminator="name", description="Which images an epoch is made of; `name` says which kind."),
]
