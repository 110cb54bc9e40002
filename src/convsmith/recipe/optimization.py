"""Sections of a recipe about how weights change: optimizer, parameter groups, schedule, averaging."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from convsmith.errors import counted
from convsmith.recipe.unused import refuse_unused
from convsmith.spec import Count, Fraction, NonNegative, Positive, Section

Momentum = Annotated[float, Field(ge=0, lt=1)]
ByPattern = tuple[tuple[str, NonNegative], ...]


class _Optimizer(Section):
    lr: Positive = Field(description="Learning rate after warmup, for this recipe's batch size.")
    lr_scaling: Literal["none", "linear", "sqrt"] = Field(
        "none", description="Multiply lr by batch.size / lr_batch, or by the square root of it."
    )
    lr_batch: Count = Field(256, description="Batch size that lr is given for, where it is scaled.")
    weight_decay: NonNegative = Field(0.0, description="Of all parameters that the keys below leave alone.")
    norm_weight_decay: NonNegative | None = Field(
        None, description="Weight decay of normalisation layers; null: as weight_decay."
    )
    bias_weight_decay: NonNegative | None = Field(
        None, description="Weight decay of everything called bias, in normalisation layers too; null: not special."
    )
    vector_weight_decay: NonNegative | None = Field(
        None,
        description="Weight decay of parameters with one dimension: biases, norms, layer scales; null: not special.",
    )
    weight_decays: ByPattern = Field(
        (),
        description="Weight decay by shell pattern of parameter names, `head` or `backbone`, such as "
        "[['*.gamma', 0]]: the first that fits counts, before all other rules.",
    )
    weight_decay_end: NonNegative | None = Field(
        None,
        description="Where a cosine takes weight_decay to, for parameters that have exactly that; null: constant.",
    )
    lr_scales: ByPattern = Field(
        (),
        description="Factor of the learning rate by `head` (the layers that give logits), `backbone` (all others) or "
        "shell pattern of parameter names, such as [['head', 10]]: the first that fits counts.",
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Each block learns this much more slowly than the one after it; the head at full rate."
    )

    @model_validator(mode="after")
    def _weight_decay_moves(self) -> _Optimizer:
        if self.weight_decay_end is not None and self.weight_decay == 0:
            raise ValueError(
                "weight_decay_end moves the weight decay of parameters that have some, but weight_decay is 0: "
                "set it above 0, or weight_decay_end: null"
            )
        return self

    def lr_for(self, batch_size: int) -> float:
        """The learning rate after warmup for an effective batch."""
        ratio = batch_size / self.lr_batch
        return self.lr * {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.lr_scaling]


class Sgd(_Optimizer):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    lr: Positive = Field(0.1, description="Learning rate after warmup, for this recipe's batch size.")
    momentum: Momentum = Field(0.9, description="Share of the last step that goes into the next one.")
    nesterov: bool = Field(False, description="Look ahead along the momentum (Nesterov).")
    weight_decay: NonNegative = Field(1e-4, description="Of all parameters that the keys below leave alone.")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov looks ahead along the momentum, so it needs momentum above 0")
        return self


class _AdamLike(_Optimizer):
    betas: tuple[Momentum, Momentum] = Field(
        (0.9, 0.999), description="Decay of the means of the gradient and of its square."
    )
    eps: Positive = Field(1e-8, description="Added to the root that divides, so that it is never 0.")


class AdamW(_AdamLike):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"]
    lr: Positive = Field(1e-3, description="Learning rate after warmup, for this recipe's batch size.")
    weight_decay: NonNegative = Field(0.05, description="Of all parameters that the keys below leave alone.")


class Adam(_AdamLike):
    """Adam, with weight decay as a part of the gradient."""

    name: Literal["adam"]
    lr: Positive = Field(1e-3, description="Learning rate after warmup, for this recipe's batch size.")


class RmsProp(_Optimizer):
    """RMSprop, as torch has it."""

    name: Literal["rmsprop"]
    lr: Positive = Field(0.01, description="Learning rate after warmup, for this recipe's batch size.")
    momentum: Momentum = Field(0.9, description="Share of the last step that goes into the next one.")
    alpha: Momentum = Field(0.9, description="Decay of the mean square.")
    eps: Positive = Field(1e-8, description="Added to the root that divides, so that it is never 0.")


class Lamb(_AdamLike):
    """LAMB, for very large batches (You et al. 2019, arXiv:1904.00962); needs timm.

    As there, the gradient's global L2 norm is clipped to 1, whatever clip_grad_norm says.
    """

    name: Literal["lamb"]
    lr: Positive = Field(5e-3, description="Learning rate after warmup, for this recipe's batch size.")
    eps: Positive = Field(1e-6, description="Added to the root that divides, so that it is never 0.")


class Lion(_Optimizer):
    """Lion, the sign of a momentum (Chen et al. 2023, arXiv:2302.06675); needs timm."""

    name: Literal["lion"]
    lr: Positive = Field(1e-4, description="Learning rate after warmup, for this recipe's batch size.")
    betas: tuple[Momentum, Momentum] = Field(
        (0.9, 0.99), description="Shares of the momentum: in the step, and in the momentum after it."
    )


Optimizer = Annotated[
    Sgd | AdamW | Adam | RmsProp | Lamb | Lion,
    Field(discriminator="name", description="How gradients change the weights; `name` says which kind."),
]


class ExtraPhase(Section):
    """A second training after the first, with a learning rate of its own and the same schedule, without warmup."""

    epochs: Count = Field(description="Passes over the training data.")
    lr: Positive = Field(description="Learning rate that it starts from, for parameters of scale 1.")


class _Run(Section):
    epochs: Annotated[int, Field(ge=0)] = Field(
        description="Passes over the training data, an extra phase not counted; 0: keep the weights it starts from."
    )


class _Schedule(_Run):
    warmup_epochs: NonNegative = Field(0.0, description="Epochs, whole or not, of warmup.")
    warmup_steps: Count | None = Field(None, description="Steps of warmup, instead of warmup_epochs.")
    warmup: Literal["linear", "constant"] = Field(
        "linear", description="From warmup_lr to the learning rate, or warmup_lr until the warmup ends."
    )
    warmup_lr: NonNegative = Field(0.0, description="Learning rate that the warmup starts from.")
    warmup_reaches_lr: Literal["after", "at_last_step"] = Field(
        "after",
        description="When a linear warmup has come to the learning rate: at the first step after it, or, as in "
        "ConvNeXt's code, at its own last one.",
    )
    by: Literal["step", "epoch"] = Field("step", description="Change the learning rate each step or each epoch.")
    shift: Literal[-1, 0, 1] = Field(
        0, description="Use the rate of the step after (1; MXNet counts from 1) or before (-1; HRNet sets it late)."
    )
    extra: ExtraPhase | None = None

    @model_validator(mode="after")
    def _warmup_ends(self) -> _Schedule:
        if self.warmup_epochs and self.warmup_steps is not None:
            raise ValueError("set one of warmup_epochs and warmup_steps; put 0 or null on the other")
        if not self.epochs:
            if self.extra:
                raise ValueError("epochs is 0, so nothing is trained, but there is an extra phase: set extra=null")
            return self
        whole_run = self.warmup == "linear" and self.warmup_reaches_lr == "at_last_step"
        if self.warmup_epochs > self.epochs or (self.warmup_epochs == self.epochs and not whole_run):
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs:g} of {counted(self.epochs, 'epoch')}, so the warmup would "
                "never end: set more epochs, or schedule.warmup_epochs=0"
            )
        return self


class _Falling(_Schedule):
    min_lr: NonNegative = Field(0.0, description="Learning rate at the end.")


class Cosine(_Falling):
    """Half a cosine from the learning rate down to `min_lr` (Loshchilov and Hutter 2016, arXiv:1608.03983)."""

    name: Literal["cosine"] = "cosine"


class Poly(_Falling):
    """From the learning rate down to `min_lr` as (1 - progress) ^ power."""

    name: Literal["poly"]
    power: Positive = Field(0.9, description="1 falls along a line; less stays high for longer.")


class Step(_Schedule):
    """The learning rate times gamma every few epochs, counted from the end of the warmup."""

    name: Literal["step"]
    every_epochs: Positive = Field(30, description="Epochs between two falls.")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="Factor of the rate at each fall.")


class MultiStep(_Schedule):
    """The learning rate times gamma at given epochs, counted from the start of the run."""

    name: Literal["multi_step"]
    milestones: Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(description="Epochs of a fall, ascending.")
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="Factor of the rate at each fall.")

    @model_validator(mode="after")
    def _ascending(self) -> MultiStep:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must ascend")
        return self


class Exponential(_Schedule):
    """The learning rate times gamma for each epoch since the warmup, smoothly where it changes by step."""

    name: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)] = Field(0.97, description="Factor of the rate for each epoch.")


class Constant(_Schedule):
    """The learning rate as it is, after the warmup."""

    name: Literal["constant"]


class OneCycle(_Run):
    """Up from lr / div_factor to lr and down to lr / (div_factor x final_div_factor), both as half a cosine.

    Smith and Topin 2017 (arXiv:1708.07120), as in torch's OneCycleLR; the momentum stays as it is.
    """

    name: Literal["one_cycle"]
    rising: Annotated[float, Field(gt=0, lt=1)] = Field(0.3, description="Share of the run in which the rate rises.")
    div_factor: Annotated[float, Field(ge=1)] = Field(25.0, description="How many times smaller the rate begins.")
    final_div_factor: Annotated[float, Field(ge=1)] = Field(
        1e4, description="How many times smaller than at its beginning the rate ends."
    )


Schedule = Annotated[
    Cosine | Poly | Step | MultiStep | Exponential | Constant | OneCycle,
    Field(discriminator="name", description="The learning rate of every step; `name` says which kind."),
]


class EmaRule(Section):
    """Exponential moving average of the weights: after an update, ema = d ema + (1 - d) model."""

    decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.999, description="d, once the warmup of the average is over.")
    warmup: Literal["none", "count", "power"] = Field(
        "count",
        description="Decay of update n of a young average: `none` has no warmup (timm's ModelEma, ConvNeXt), `count` "
        "takes at most (1 + n) / (10 + n), `power` at most 1 - (1 + n / gamma)^-power (timm's ModelEmaV3).",
    )
    gamma: Positive = Field(1.0, description="Of warmup `power`.")
    power: Positive = Field(2 / 3, description="Of warmup `power`.")
    every_steps: Count = Field(1, description="Update at steps 0, n, 2n ... of each epoch.")
    scale_to_epochs: bool = Field(
        False,
        description="torchvision's rule: 1 - d is multiplied by batch.size x every_steps / epochs.",
    )
    copy_in_warmup: bool = Field(
        False, description="Copy the weights, as torchvision does, as long as the learning rate warms up."
    )
    judge: Literal["ema", "model", "both"] = Field(
        "ema",
        description="What is evaluated and shipped: `ema`, the average; `model`, the trained weights themselves; or "
        "`both`: each validation judges both, and the better ones count.",
    )

    @model_validator(mode="before")
    @classmethod
    def _takes_the_former_name(cls, values: Any) -> Any:
        """`judged`, true or false, was this key before there was a third choice."""
        if not isinstance(values, dict) or not isinstance(values.get("judged"), bool):
            return values
        values = dict(values)
        former = "ema" if values.pop("judged") else "model"
        if values.setdefault("judge", former) != former:
            raise ValueError("judged is the former name of judge, and they disagree: leave judged out")
        return values

    @model_validator(mode="after")
    def _warmup_has_its_keys(self) -> EmaRule:
        refuse_unused(self, "warmup", {"gamma": "power", "power": "power"})
        return self


class Freeze(Section):
    """Parameters that do not learn. BatchNorm among them keeps its statistics too."""

    names: Annotated[tuple[str, ...], Field(min_length=1)] | Literal["backbone", "head"] = Field(
        description="`backbone`: everything but the layers that give logits; `head`: these; or shell patterns of "
        "parameter names."
    )
    epochs: Count | None = Field(None, description="First epochs in which they do not learn; null: never.")


class Ramp(Section):
    """A value that moves in equal parts at each epoch and has reached `end` in the last one."""

    start: Fraction = Field(0.0, description="Value that the first epoch moves away from.")
    end: Fraction = Field(description="Value of the last epoch.")
