"""The keys of a recipe. Each section is one pydantic model; unknown keys and wrong types are errors.

Nothing here knows torch: a recipe is checked, printed and planned where torch is not installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from convsmith.processor import Target
from convsmith.recipe.augmentation import Augment
from convsmith.recipe.channels import check_channels
from convsmith.recipe.data import Data
from convsmith.recipe.mixing import Mixing
from convsmith.recipe.model import Model
from convsmith.recipe.objective import CrossEntropy, Distillation, Loss
from convsmith.recipe.optimization import EmaRule, Freeze, Optimizer, Schedule
from convsmith.recipe.sampling import Plain, Sampling
from convsmith.recipe.schedules import total_epochs
from convsmith.recipe.task_fit import check_task, list_figures, list_metrics
from convsmith.recipe.tasks import list_tasks
from convsmith.spec import Bands, Count, NonNegative, Positive, Preprocess, Section, Size, WholeImage

if TYPE_CHECKING:
    TaskName = str
    MetricName = str
    FigureName = str
else:
    TaskName, MetricName = Literal[tuple(list_tasks())], Literal[tuple(list_metrics())]
    FigureName = Literal[tuple(list_figures())]


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


class BundleRule(Section):
    """Outputs of the bundle beside its answers."""

    embeddings: bool = Field(
        False,
        description="The model has a second output: the features that its last layer sees, for `convsmith embed`, "
        "nearest neighbours, and how far an image is from the training images. Answers stay the same.",
    )


class Recipe(Section):
    """All that decides a training, but for the machines and devices that it runs on.

    Examples:
        >>> recipe = cs.load_recipe("digits")
        >>> recipe.model.name, recipe.batch.size, recipe.schedule.epochs
        ('cifar_resnet20', 64, 12)
    """

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
    metrics: tuple[FigureName, ...] = Field(
        (),
        description="Figures of `evaluate` that each validation measures besides those that it always does, such as "
        "[f1_macro, ece]; they judge nothing. One that the images do not give, as the AUROC of a class without any, is "
        "left out.",
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
        "fp16 with loss scaling on older GPUs, else fp32. Weights are always fp32.",
    )
    eval_precision: Literal["fp32", "fast"] = Field(
        "fp32",
        description="Arithmetic of validations. `fast`: that of the training, after epochs that half an hour of it "
        "or more follows; the last epoch, and the best one in the end, are judged in fp32.",
    )
    compile: Literal["auto"] | bool = Field(
        "auto",
        description="Train what torch.compile makes of the model. `auto`: if the training takes half an hour or more, "
        "try it for some steps, and do so where it is faster.",
    )
    channels_last: bool = Field(True, description="Memory layout NHWC, which convolutions prefer.")
    early_stopping: EarlyStopping | None = None
    checkpoint: CheckpointRule = CheckpointRule()
    bundle: BundleRule = BundleRule()
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
        if not self.eval and self.metrics:
            raise ValueError("metrics are figures of each validation, but `eval` is false, so there are none")
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
