"""Sections of a recipe about what is learned: the loss, and a teacher."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from convsmith.recipe.rarity import Rarity
from convsmith.recipe.unused import refuse_unused
from convsmith.spec import Count, Fraction, NonNegative, Positive, Section

ClassWeights = Rarity | Annotated[tuple[Positive, ...], Field(min_length=2)]
PositiveWeights = Literal["counts"] | Annotated[tuple[Positive, ...], Field(min_length=2)]


class _Loss(Section):
    class_weights: ClassWeights | None = Field(
        None,
        description="Weight of each class: a list, or from its number n of training images (of pixels, where those are "
        "classified), 1/n, 1/sqrt(n) or (1 - 0.999) / (1 - 0.999^n), scaled to a mean of 1 over them; null: all alike.",
    )


class _SmoothedLoss(_Loss):
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Probability spread evenly over all classes; of several labels, over yes and no of each."
    )


class LabelLoss(_SmoothedLoss):
    """Base of all losses in which each class may be a question of its own, so that an image can have several."""

    positive_weights: PositiveWeights | None = Field(
        None,
        description="Of several labels: weight of each class where it is there, beside 1 where it is not: a list, or "
        "by `counts` the number of training images without it divided by that of those with it; null: 1.",
    )


class PixelLoss(_Loss):
    """Base of all losses that can be taken of each pixel, and of each output of a model that has several."""

    output_weights: Annotated[tuple[NonNegative, ...], Field(min_length=1)] | None = Field(
        None,
        description="Weight of each output of a segmentation model, auxiliary ones first, such as OCR's [0.4, 1]; "
        "null: 0.4 for each auxiliary one, 1 for the last.",
    )
    align_corners: bool | Annotated[tuple[bool, ...], Field(min_length=1)] | None = Field(
        None,
        description="How logits are upsampled to the masks: whether the centres of the corner pixels stay in place. "
        "A list has one for each output; null: as inside the model.",
    )


class _SmoothedPixelLoss(_SmoothedLoss, PixelLoss):
    pass


class CrossEntropy(_SmoothedPixelLoss):
    """Cross-entropy with the softmax of the logits."""

    name: Literal["cross_entropy"] = "cross_entropy"


class BinaryCrossEntropy(LabelLoss):
    """Each class as a question of its own, on the sigmoid of its logit (Wightman et al. 2021, arXiv:2110.00476)."""

    name: Literal["binary_cross_entropy"]
    threshold: Fraction | None = Field(
        None, description="Mixed or smoothed labels above it count as 1, others as 0; null: as they are."
    )


class Focal(_SmoothedPixelLoss, LabelLoss):
    """Cross-entropy times (1 - p)^gamma: easy samples count less (Lin et al. 2017, arXiv:1708.02002).

    With several labels p is the sigmoid of a logit, else the softmax.
    """

    name: Literal["focal"]
    gamma: NonNegative = Field(2.0, description="The higher, the less easy samples count; 0 is cross-entropy.")


class Asymmetric(LabelLoss):
    """Binary cross-entropy whose easy terms count less, and less still where a class is not there.

    Ridnik et al. 2020, arXiv:2009.14119; the mean over images and classes.
    """

    name: Literal["asymmetric"]
    gamma_positive: NonNegative = Field(1.0, description="Power of 1 - p, where a class is there.")
    gamma_negative: NonNegative = Field(4.0, description="Power of p, where it is not.")
    clip: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="Taken from p where a class is not there, so that what is below counts nothing."
    )


class Ohem(PixelLoss):
    """Cross-entropy of the hard pixels only (online hard example mining), as HRNet's code does it.

    Only the last output is mined. An auxiliary one gives its cross-entropy, averaged over all pixels.
    """

    name: Literal["ohem"]
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9, description="A pixel is hard whose right class has a probability below it."
    )
    min_kept: Count = Field(
        131072, description="Where fewer pixels of a forward pass are hard, so many of the hardest are kept."
    )


class _RegionLoss(PixelLoss):
    cross_entropy: NonNegative = Field(
        1.0, description="Weight of cross-entropy added to it, which `class_weights` weigh; 0: none."
    )

    @model_validator(mode="after")
    def _weights_have_a_use(self) -> _RegionLoss:
        if self.cross_entropy == 0 and self.class_weights is not None:
            raise ValueError("class_weights weigh the cross-entropy, but cross_entropy is 0: put null on class_weights")
        return self


class Dice(_RegionLoss):
    """1 - the soft Dice coefficient, a mean over the classes of a batch (Isensee et al. 2018, arXiv:1809.10486)."""

    name: Literal["dice"]


class Lovasz(_RegionLoss):
    """Lovasz-Softmax, which stands for 1 - mIoU over the classes of a batch (Berman et al. 2018, arXiv:1705.08790)."""

    name: Literal["lovasz"]


Loss = Annotated[
    CrossEntropy | BinaryCrossEntropy | Focal | Asymmetric | Ohem | Dice | Lovasz,
    Field(discriminator="name", description="What is minimised; `name` says which kind."),
]


class Teacher(Section):
    """A trained model to learn from: exactly one of a bundle and a model with weights."""

    bundle: str | None = Field(None, description="Folder of a bundle or of a run, such as runs/x.")
    model: str | None = Field(None, description="A name that `convsmith models` lists, timm/NAME or torchvision/NAME.")
    weights: str | None = Field(
        None,
        description="Of the model: a name that `convsmith weights` lists, a file, or `pretrained` (timm, torchvision).",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="Further keyword arguments of the model.")

    @field_validator("options")
    @classmethod
    def _options_are_further(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, reason in (("num_classes", "a teacher has the student's classes"), ("weights", "set teacher.weights")):
            if key in options:
                raise ValueError(f"{key} is not an option of a teacher: {reason}")
        return options

    @model_validator(mode="after")
    def _one_source(self) -> Teacher:
        if (self.bundle is None) == (self.model is None):
            raise ValueError("a teacher is exactly one of bundle and model; set one and put null on the other")
        if self.model is not None and self.weights is None:
            raise ValueError("a teacher must have learned something: set weights")
        if self.bundle is not None and (self.weights is not None or self.options):
            raise ValueError("a bundle has its own weights and options: they belong to model")
        return self


class Distillation(Section):
    """Learning from a teacher besides the labels: (1 - alpha) x loss + alpha x what `kind` names.

    `logits`: KL divergence of the softened predictions (Hinton et al. 2015, arXiv:1503.02531). `hard`:
    cross-entropy with the teacher's best class (Touvron et al. 2020, arXiv:2012.12877). `features`: the teacher's
    similarities between the images of a batch (Tung and Mori 2019, arXiv:1907.09682).
    """

    teacher: Teacher
    kind: Literal["logits", "hard", "features"] = Field(
        "logits", description="What is learned from the teacher; `features` is not for segmentation."
    )
    alpha: Fraction = Field(0.5, description="Weight of the teacher; the labels have the rest.")
    temperature: Positive = Field(2.0, description="Divides the logits of both before the softmax (kind `logits`).")
    times_squared_temperature: bool = Field(
        True, description="Multiply the divergence by temperature squared, so that its gradient keeps its size."
    )
    similarity_weight: Positive = Field(
        3000.0, description="Multiplies the distance of the similarities (kind `features`; gamma of its paper)."
    )

    @model_validator(mode="after")
    def _kind_has_its_keys(self) -> Distillation:
        keys = {"temperature": "logits", "times_squared_temperature": "logits", "similarity_weight": "features"}
        refuse_unused(self, "kind", keys)
        if self.kind == "features" and self.teacher.bundle is not None:
            raise ValueError("a bundle gives logits, no features: name the teacher by model and weights")
        return self
