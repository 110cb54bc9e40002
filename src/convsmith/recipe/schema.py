"""What a recipe may say. Each section is one pydantic model; unknown keys and wrong types are errors.

Nothing here knows torch: a recipe is checked, printed and planned where torch is not installed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from convsmith.spec import Count, Fraction, Interpolation, NonNegative, Positive, Preprocess, Section, Side


class Model(Section):
    """The architecture."""

    name: str = Field(description="A name that `convsmith models` lists.")
    num_classes: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Number of classes; null takes it from the data."
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="Further keyword arguments of the model, such as zero_init_residual."
    )
    weights: str | None = Field(
        None,
        description="A name that `convsmith weights` lists, or a checkpoint file; null starts from random weights.",
    )

    @field_validator("options")
    @classmethod
    def _options_are_further(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key in ("name", "num_classes", "weights"):
            if key in options:
                raise ValueError(f"set model.{key}, not model.options.{key}")
        if options.get("in_channels", 3) != 3:
            raise ValueError("images are decoded to RGB, so in_channels is 3")
        return options


class Data(Section):
    """Where samples come from and what happens to bad ones."""

    val_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Share of each class held out when the folder has no val/ of its own."
    )
    on_error: Literal["error", "skip"] = Field(
        "error",
        description="A file that cannot be decoded: `error` stops; `skip` replaces it by the next good "
        "sample, lists it in the run directory, and stops when more than 1 % are bad.",
    )
    last_batch: Literal["wrap", "drop"] = Field(
        "wrap",
        description="The ragged end of an epoch: `wrap` fills the last batch from the start of the epoch's "
        "order, `drop` leaves those samples to another epoch.",
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="Loader processes; it changes speed, never results."
    )


class RandomResizedCrop(Section):
    """A random area of the image, resized (Inception's augmentation)."""

    size: Side = Field(description="Side of the training image in pixels.")
    scale: tuple[Positive, Positive] = Field((0.08, 1.0), description="Range of the area, relative to the image.")
    ratio: tuple[Positive, Positive] = Field((3 / 4, 4 / 3), description="Range of the aspect ratio.")
    interpolation: Interpolation = "bilinear"

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> RandomResizedCrop:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if low > high:
                raise ValueError(f"{name} is a range [low, high], but {low} is above {high}")
        return self


class RandomCrop(Section):
    """The image resized to a shorter side of `size`, padded with black and cropped at a random place (as for CIFAR)."""

    size: Side = Field(description="Side of the training image in pixels.")
    padding: Annotated[int, Field(ge=0, le=4096)] = Field(4, description="Pixels added on each side.")


class Augment(Section):
    """What happens to a training image, in this order. A step that is null or 0 is left out."""

    random_resized_crop: RandomResizedCrop | None = None
    random_crop: RandomCrop | None = None
    hflip: Fraction = Field(0.0, description="Probability of a left-right flip.")

    @model_validator(mode="after")
    def _exactly_one_crop(self) -> Augment:
        if (self.random_resized_crop is None) == (self.random_crop is None):
            raise ValueError(
                "a training image is made by exactly one of random_resized_crop and random_crop; "
                "set one and put null on the other"
            )
        return self

    @property
    def size(self) -> int:
        """Side of the training image in pixels."""
        crop = self.random_resized_crop or self.random_crop
        assert crop is not None  # the validator holds it
        return crop.size


class Batch(Section):
    """The effective batch: how many samples one optimizer step learns from, on any hardware."""

    size: Count = Field(description="Samples per optimizer step = nodes x devices x per_device x accumulation.")
    per_device: Count | Literal["auto"] = Field(
        "auto", description="Samples in one forward pass; `auto` takes the largest that memory is expected to hold."
    )


class Sgd(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"] = "sgd"
    lr: Positive = Field(0.1, description="Learning rate after warmup, for this recipe's batch size.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: NonNegative = 1e-4
    norm_weight_decay: NonNegative | None = Field(
        None, description="Weight decay of normalisation layers; null: as weight_decay."
    )
    bias_weight_decay: NonNegative | None = Field(
        None, description="Weight decay of biases outside normalisation layers; null: as weight_decay."
    )

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Sgd:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov looks ahead along the momentum, so it needs momentum above 0")
        return self


class AdamW(Section):
    """Adam with decoupled weight decay."""

    name: Literal["adamw"]
    lr: Positive = Field(1e-3, description="Learning rate after warmup, for this recipe's batch size.")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NonNegative = 0.05
    norm_weight_decay: NonNegative | None = Field(
        None, description="Weight decay of normalisation layers; null: as weight_decay."
    )
    bias_weight_decay: NonNegative | None = Field(
        None, description="Weight decay of biases outside normalisation layers; null: as weight_decay."
    )


Optimizer = Annotated[
    Sgd | AdamW, Field(discriminator="name", description="How gradients change the weights; `name` says which kind.")
]


class Schedule(Section):
    """The learning rate of every step: a linear warmup, then half a cosine down to `min_lr`."""

    name: Literal["cosine"] = "cosine"
    epochs: Count = Field(description="Passes over the training data.")
    warmup_epochs: NonNegative = Field(0.0, description="Epochs, whole or not, of linear warmup.")
    warmup_lr: NonNegative = Field(0.0, description="Learning rate that the warmup starts from.")
    min_lr: NonNegative = Field(0.0, description="Learning rate that the cosine ends at.")

    @model_validator(mode="after")
    def _warmup_ends(self) -> Schedule:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs:g} of {self.epochs} epochs, so the warmup would never end"
            )
        return self


class Loss(Section):
    """Cross-entropy."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Probability spread evenly over all classes."
    )


class Ema(Section):
    """Exponential moving average of the weights. Where it is on, its weights are evaluated and shipped."""

    decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    warmup: bool = Field(
        True, description="Use min(decay, (1 + n) / (10 + n)) at update n, so that short runs forget their start."
    )


class EarlyStopping(Section):
    """Stop when the validation metric has not improved for some epochs."""

    patience: Count = Field(description="Epochs without improvement before the run stops.")
    min_delta: NonNegative = Field(0.0, description="Smallest improvement that counts, in the metric's unit.")


class Checkpoint(Section):
    """When checkpoints are written besides the one after each epoch, and how many are kept."""

    every_steps: Count | None = Field(None, description="Also after each so many optimizer steps.")
    every_minutes: Positive | None = Field(10.0, description="Also when so many minutes have passed since the last.")
    keep: Count = Field(2, description="How many of the newest to keep; the best one is always kept.")


class Recipe(Section):
    """What to train. It never says on how many machines or devices."""

    description: str = Field(description="One line: what this recipe is for.")
    source: str = Field(description="The paper or official file that the values come from.")
    task: Literal["classification"] = "classification"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Names every random number of the run.")
    model: Model
    data: Data = Data()
    augment: Augment
    preprocess: Preprocess
    batch: Batch
    optimizer: Optimizer
    schedule: Schedule
    loss: Loss = Loss()
    ema: Ema | None = None
    clip_grad_norm: Positive | None = Field(None, description="Largest global L2 norm of the gradient.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the forward pass. `auto`: bf16 where the device computes it natively, "
        "fp16 with loss scaling on older GPUs, else fp32. Weights and evaluation are always fp32.",
    )
    channels_last: bool = Field(True, description="Memory layout NHWC, which convolutions prefer.")
    early_stopping: EarlyStopping | None = None
    checkpoint: Checkpoint = Checkpoint()

    @model_validator(mode="after")
    def _parts_agree(self) -> Recipe:
        schedule, optimizer = self.schedule, self.optimizer
        for name in ("warmup_lr", "min_lr"):
            if getattr(schedule, name) > optimizer.lr:
                raise ValueError(
                    f"schedule.{name} ({getattr(schedule, name):g}) is above optimizer.lr ({optimizer.lr:g}), "
                    "the highest learning rate of the run"
                )
        per_device = self.batch.per_device
        if per_device != "auto" and self.batch.size % per_device:
            raise ValueError(
                f"batch.size ({self.batch.size}) is not a multiple of batch.per_device ({per_device}), "
                "so no number of devices and accumulation steps can make it"
            )
        return self
