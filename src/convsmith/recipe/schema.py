"""The keys of a recipe. Each section is one pydantic model; unknown keys and wrong types are errors.

Nothing here knows torch: a recipe is checked, printed and planned where torch is not installed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from convsmith.processor import Target
from convsmith.recipe.augmentation import Augment, Mixing, Plain, Sampling
from convsmith.recipe.channels import check_channels
from convsmith.recipe.columns import Columns
from convsmith.recipe.mask_data import Masks
from convsmith.recipe.objective import CrossEntropy, Distillation, Loss
from convsmith.recipe.optimization import EmaRule, Freeze, Optimizer, Ramp, Schedule
from convsmith.recipe.schedules import total_epochs
from convsmith.recipe.task_fit import check_task, list_metrics
from convsmith.recipe.tasks import list_tasks
from convsmith.spec import MAX_CHANNELS, Bands, Count, NonNegative, Positive, Preprocess, Section, Size, WholeImage
from convsmith.storage import size_of_text

if TYPE_CHECKING:
    TaskName = str
    MetricName = str
else:
    TaskName, MetricName = Literal[tuple(list_tasks())], Literal[tuple(list_metrics())]


class Model(Section):
    """The architecture."""

    name: str = Field(description="A name that `convsmith models` lists.")
    num_classes: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Number of classes; null takes it from the data."
    )
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="Further keyword arguments of the model, such as zero_init_residual; null takes one out again.",
    )
    weights: str | None = Field(
        None,
        description="A name that `convsmith weights` lists, or a checkpoint file; null starts from random weights.",
    )
    weights_key: str = Field(
        "auto", description="Entry of the checkpoint file that holds the weights, such as model_ema; auto looks for it."
    )
    drop_path: Ramp | None = Field(
        None, description="Schedule of the last block's probability to be dropped; null: options.drop_path, constant."
    )
    drop_block: Ramp | None = Field(None, description="Schedule of DropBlock's probability; null: constant.")
    sync_batch_norm: bool = Field(False, description="BatchNorm over the batches of all devices together.")
    batch_norm_momentum: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Share of a batch in BatchNorm's running statistics; null: the model's own, 0.1."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute each block again in the backward pass: much less memory, a third more time."
    )

    @field_validator("options")
    @classmethod
    def _options_are_further(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key in ("name", "num_classes", "weights"):
            if key in options:
                raise ValueError(f"set model.{key}, not model.options.{key}")
        for key in ("in_channels", "in_chans"):
            if key in options and options[key] is not None:
                raise ValueError(f"set data.channels, not model.options.{key}")
        return {key: value for key, value in options.items() if value is not None}

    @model_validator(mode="after")
    def _keys_agree(self) -> Model:
        if self.drop_path is not None and "drop_path" in self.options:
            raise ValueError(
                "set one of model.drop_path, which moves, and model.options.drop_path, which is constant; "
                "put null on the other"
            )
        if self.weights is None and self.weights_key != "auto":
            raise ValueError("weights_key names an entry of a checkpoint file, but weights is null: set model.weights")
        return self


class Data(Section):
    """Where samples come from and what happens to bad ones."""

    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = Field(
        3,
        description="Numbers of each pixel: 3 is RGB, 1 grey, 4 and more the bands of a TIFF or of an array. Weights "
        "for RGB are adapted. Images of another number are errors; only grey becomes RGB.",
    )
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="Share of each class held out when the folder has no val/ of its own."
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="Parts that training images are dealt out into, of which `fold` is held out in place of a share.",
    )
    fold: Annotated[int, Field(ge=0)] | None = Field(None, description="The part that is held out, from 0.")
    on_error: Literal["error", "skip"] = Field(
        "error",
        description="A file that cannot be decoded: `error` stops; `skip` replaces it by the next good "
        "sample, lists it in the run directory, and stops when more than `max_bad` are bad.",
    )
    max_bad: Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="Most bad files that `skip` puts up with: a number, or a share below 1 of all files; null: 1 %, "
        "but always 3.",
    )
    max_pixels: Count | None = Field(
        None,
        description="Most pixels that an image may have, which bounds memory; null: what the environment variable "
        "CONVSMITH_MAX_PIXELS says, or else 67,108,864.",
    )
    read_timeout: Annotated[float, Field(ge=0, le=1e6)] | None = Field(
        None,
        description="Seconds that a file, the run directory, or a stopped loader process is waited for before that "
        "ends the training; 0: for ever; null: what the environment variable CONVSMITH_READ_TIMEOUT says, or else 120.",
    )
    decode: Literal["exact", "scaled"] = Field(
        "exact",
        description="Training images decoded as they are; or `scaled`: JPEGs in half the size or less, in less time, "
        "where what is cut out stays 1.5 times as large as what it becomes. Validation always has them as they are.",
    )
    cache: Literal["none", "memory", "disk"] = Field(
        "none",
        description="Keep decoded training images, as far as `cache_size` allows, in memory or in a file of the run "
        "directory; it changes speed, never results. For Linux.",
    )
    cache_size: str = Field("4GB", description="Most that `cache` may take on each machine, such as 500MB or 64GB.")
    last_batch: Literal["wrap", "drop"] = Field(
        "wrap",
        description="The ragged end of an epoch: `wrap` fills the last batch from the start of the epoch's "
        "order, `drop` leaves those samples to another epoch.",
    )
    window: Count = Field(
        8192,
        description="Samples of tar shards that are shuffled among each other: the shards come in a random order, and "
        "what follows is shuffled within windows of so many. Other data are shuffled as a whole.",
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="Loader processes; it changes speed, never results."
    )
    pattern: str | None = Field(
        None,
        description="Of folders: a regular expression that finds the class in the path of an image, as "
        r"(?P<label>\w+)_\d+, or a group whose images go to one part alone, as (?P<group>patient\d+); or both.",
    )
    columns: Columns | None = Field(
        None, description="Of tables: the names of columns; null: usual names, see docs/data.md."
    )
    root: str | None = Field(
        None,
        description="Of tables: the folder that paths are relative to, itself relative to that of the table; null: "
        "that of the table, or else the one beside it that holds such images.",
    )
    masks: Masks | None = Field(
        None, description="Of segmentation: where masks lie and what their values mean; null: as in a plain folder."
    )

    @field_validator("pattern")
    @classmethod
    def _pattern_finds_something(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                named = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
            if not {"label", "group"} & named.keys() or named.keys() - {"label", "group"}:
                raise ValueError(f"{pattern!r} must name what it finds, as (?P<label>...), (?P<group>...), or both")
        return pattern

    @model_validator(mode="after")
    def _folds_agree(self) -> Data:
        if self.fold is not None and self.folds is None:
            raise ValueError("fold names one of some folds: set data.folds, their number")
        if self.fold is not None and self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but the {self.folds} folds are numbered 0 to {self.folds - 1}")
        return self

    @field_validator("cache_size")
    @classmethod
    def _cache_size_is_a_size(cls, text: str) -> str:
        if size_of_text(text) is None:
            raise ValueError(f"cache_size is `{text}`: write it as 500MB or 64GB")
        return text

    @model_validator(mode="after")
    def _cached_is_what_was_decoded(self) -> Data:
        if self.cache != "none" and self.decode == "scaled":
            raise ValueError("data.cache keeps whole images, but data.decode is scaled: set one of them back")
        return self


class BatchRule(Section):
    """The effective batch: how many samples one optimizer step learns from, on any hardware."""

    size: Count = Field(description="Samples per optimizer step = nodes x devices x per_device x accumulation.")
    per_device: Count | Literal["auto"] = Field(
        "auto", description="Samples in one forward pass; `auto` takes the largest that memory is expected to hold."
    )


class QuantizationAware(Section):
    """Train for INT8: weights and activations are rounded as INT8 inference rounds them, and the bundle is INT8."""

    range_momentum: Annotated[float, Field(gt=0, le=1)] = Field(
        0.05, description="Share of a batch in the moving average of each activation's lowest and highest value."
    )
    target: Target = Field(
        "any-x86",
        description="Which processors the INT8 bundle is for: `any-x86` holds weights to 7 bits, so that sums of "
        "products are exact without VNNI too; `vnni` and `arm` use all 8.",
    )


class EarlyStopping(Section):
    """Stop when the validation metric has not improved for some time, nor the loss with the metric as it was."""

    patience: Count = Field(description="Validations without improvement before the run stops.")
    min_delta: NonNegative = Field(0.0, description="Smallest improvement that counts, in the metric's unit.")


class CheckpointRule(Section):
    """When checkpoints are written besides the one after each epoch, and how many are kept."""

    every_steps: Count | None = Field(None, description="Also after each so many optimizer steps.")
    every_minutes: Positive | None = Field(10.0, description="Also when so many minutes have passed since the last.")
    keep: Count = Field(2, description="How many of the newest to keep; the best one is always kept.")


class Recipe(Section):
    """All that decides a training, but for the machines and devices that it runs on."""

    description: str = Field(description="One line: what this recipe is for.")
    source: str = Field(description="The paper or official file that the values come from.")
    task: TaskName = Field(
        "classification", description="One class for each image, several labels for each, or one class for each pixel."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Names every random number of the run.")
    model: Model
    data: Data = Data()
    augment: Augment
    preprocess: Annotated[
        Preprocess | WholeImage,
        Field(
            discriminator="method",
            description="How an image becomes the model's input in validation, predict and serve: a square of it, or, "
            "for segmentation, the `whole` image.",
        ),
    ]
    batch: BatchRule
    optimizer: Optimizer
    schedule: Schedule
    loss: Loss = CrossEntropy()
    sampling: Sampling = Plain()
    mixing: Mixing | None = None
    distillation: Distillation | None = None
    freeze: Freeze | None = None
    ema: EmaRule | None = None
    quantization_aware: QuantizationAware | None = None
    eval: bool = Field(True, description="Validate; without, the last weights are the result.")
    eval_every: Count = Field(1, description="Epochs from one validation to the next; the last epoch always has one.")
    metric: MetricName = Field(
        "top1",
        description="Figure of the validation that chooses the best epoch and that early stopping watches: `top1`, or "
        "the balanced accuracy, in which each class counts alike, however many images it has; of several labels mean "
        "average precision over classes (`map_macro`, its default) or over all answers, F1 likewise at the best "
        "thresholds, or the share of images whose labels are all right; of segmentation `miou` (its default), or the "
        "accuracy by class or by pixel; of all the `loss`, the cross-entropy, of which less is better. Among equals "
        "the epoch with the lower loss is better, else the later one.",
    )
    clip_grad_norm: Positive | None = Field(None, description="Largest global L2 norm of the gradient.")
    on_divergence: Literal["stop", "rollback"] = Field(
        "stop",
        description="When the loss is not a finite number for five steps in a row: `stop`, or `rollback` to the last "
        "checkpoint and go on with half the learning rate, up to five times.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the forward pass. `auto`: bf16 where the device computes it natively, "
        "fp16 with loss scaling on older GPUs, else fp32. Weights and evaluation are always fp32.",
    )
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="Train what torch.compile makes of the model. `auto`: if the training takes half an hour or more, "
        "try it for some steps, and do so where it is faster.",
    )
    channels_last: bool = Field(True, description="Memory layout NHWC, which convolutions prefer.")
    early_stopping: EarlyStopping | None = None
    checkpoint: CheckpointRule = CheckpointRule()
    _left_to_weights: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def left_to_weights(self) -> frozenset[str]:
        """Keys of preprocessing, joined by dots, that were said before the weights were named: theirs count."""
        return self._left_to_weights

    @property
    def bands(self) -> Bands:
        """The pixels that are read of an image file."""
        return Bands(self.data.channels, self.preprocess.range)

    @property
    def model_options(self) -> dict[str, Any]:
        """Keyword arguments of the model besides its number of classes."""
        return {**self.model.options, **({"in_channels": self.data.channels} if self.data.channels != 3 else {})}

    @property
    def mean_is_open(self) -> bool:
        """Whether mean and standard deviation have still to be measured: those that it has are of RGB."""
        return len(self.preprocess.mean) != self.data.channels

    def with_mean(self, mean: tuple[float, ...], std: tuple[float, ...]) -> Recipe:
        """The recipe for images of that mean and standard deviation of each channel."""
        return self.model_copy(update={"preprocess": self.preprocess.model_copy(update={"mean": mean, "std": std})})

    def with_num_classes(self, count: int) -> Recipe:
        """The recipe for a model of so many classes."""
        return self.model_copy(update={"model": self.model.model_copy(update={"num_classes": count})})

    @property
    def input_size(self) -> Size:
        """Height and width of a typical input: what the square is, or the training images where any size will do."""
        return self.preprocess.only_size() or self.augment.size

    @model_validator(mode="after")
    def _fits_the_task(self) -> Recipe:
        check_task(self)
        check_channels(self)
        return self

    @model_validator(mode="after")
    def _parts_agree(self) -> Recipe:
        highest = self.optimizer.lr_for(self.batch.size)
        scaled = f", times {highest / self.optimizer.lr:g} for this batch" if highest != self.optimizer.lr else ""
        for name in ("warmup_lr", "min_lr"):
            low = getattr(self.schedule, name, 0.0)
            if low > highest:
                raise ValueError(
                    f"schedule.{name} ({low:g}) is above optimizer.lr ({self.optimizer.lr:g}{scaled}), "
                    "the highest learning rate of the run"
                )
        low, extra = getattr(self.schedule, "min_lr", 0.0), getattr(self.schedule, "extra", None)
        if extra and low > extra.lr:
            raise ValueError(f"schedule.min_lr ({low:g}) is above schedule.extra.lr ({extra.lr:g}), that falls to it")
        if not self.eval and self.data.folds is not None:
            raise ValueError("data.folds are for validation, but `eval` is false, so there is none")
        if not self.eval and self.early_stopping:
            raise ValueError("early_stopping.patience counts validations, but `eval` is false, so there are none")
        if not self.eval and self.ema and self.ema.judge == "both":
            raise ValueError("ema.judge `both` compares in each validation, but `eval` is false, so there are none")
        if self.data.decode == "scaled" and self.augment.policy and self.augment.policy.before_crop:
            raise ValueError(
                "data.decode `scaled` needs the crop to come first, but augment.policy.before_crop is true: "
                "set data.decode=exact, or augment.policy.before_crop=false"
            )
        epochs = total_epochs(self.schedule)
        if epochs and self.mixing and self.mixing.off_epochs >= epochs:
            raise ValueError(
                f"mixing.off_epochs ({self.mixing.off_epochs}) leaves none of the {epochs} epochs of schedule.epochs: "
                "lower it, or set mixing=null"
            )
        if epochs and self.freeze and self.freeze.epochs is not None and self.freeze.epochs >= epochs:
            raise ValueError(
                f"freeze.epochs ({self.freeze.epochs}) leaves none of the {epochs} epochs of schedule.epochs: "
                "lower it, or set freeze.epochs=null, which means all"
            )
        for key in ("gradient_checkpointing", "sync_batch_norm"):
            if self.quantization_aware and getattr(self.model, key):
                raise ValueError(f"quantization_aware cannot be had with model.{key}: set one of them to null or false")
        if self.quantization_aware and not epochs:
            raise ValueError("quantization_aware learns the ranges of values, but schedule.epochs is 0: set more")
        if self.quantization_aware and self.compile is True:
            raise ValueError("quantization_aware cannot be had with compile=true: set compile=auto or false")
        per_device = self.batch.per_device
        if per_device != "auto" and self.batch.size % per_device:
            raise ValueError(
                f"batch.size ({self.batch.size}) is not a multiple of batch.per_device ({per_device}), "
                "so no number of devices and accumulation steps can make it"
            )
        return self
