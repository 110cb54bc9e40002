"""The state of a run, which a resume needs besides tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from convsmith.training.precision import Precision


@dataclass
class Progress:
    """The position and the running figures of a run; saved as JSON with every checkpoint."""

    data_digest: str
    """Names the files and classes that the run trains on."""
    threads: int
    """Compute threads of the process; another number changes the last bits of a result."""
    precision: Precision
    """Arithmetic that the run began in."""
    per_device_batch: int
    """Images of one forward pass."""
    world_size: int = 1
    """Processes that train together; another number changes the last bits of a result."""
    compiled: bool | None = None
    """Whether the model is compiled; None before that is decided."""
    lr_factor: float = 1.0
    """The factor of the plan's learning rates; below 1 after going back from a divergence."""
    teacher_digest: str | None = None
    """Names the file of a teacher that is learned from."""
    classes: list[str] | None = None
    """Name of each class, in the order of the logits; None where the run is older than this."""
    start_digest: str | None = None
    """Names the file of the weights that were started from; None where there is none, or the run is older than this."""
    custom_digest: str | None = None
    """Names the source of the recipe's own function of augmentation, if it has one."""
    step: int = 0
    """Optimizer steps done."""
    loss_sums: list[float] = field(default_factory=lambda: [0.0])
    """Sum of the losses of this epoch's steps, of each process."""
    norm_sum: float = 0.0
    """Sum of the norms of the gradients, before clipping, in those of this epoch's steps that measure it."""
    train_seconds: float = 0.0
    """Time spent on this epoch's steps."""
    data_seconds: float = 0.0
    """The part of it that was spent waiting for images."""
    evaluated_step: int = 0
    """The last step after which the model was evaluated."""
    fast_until: int | None = None
    """The last step after which validation computes in `precision`; None before that is decided."""
    best: dict[str, float] | None = None
    """The validation metrics of the best step."""
    best_step: int | None = None
    best_precision: Precision = "fp32"
    """Arithmetic that these were measured in."""
    best_tuned: dict[str, Any] = field(default_factory=dict)
    """Keys of the bundle that the validation of the best step decided."""
    judged: Literal["ema", "model"] | None = None
    """Where both are judged: whose figures were better in the last validation."""
    improved_to: float | None = None
    """The metric when early stopping last saw an improvement."""
    improved_loss: float | None = None
    """The validation loss then; None where it is not measured, or the run is older than this."""
    epochs_without_improvement: int = 0
    """Since then."""
    stopped_early: bool = False
    grad_scaler: dict[str, float] | None = None
    """State of the loss scaling in fp16."""
    bad_files: dict[str, str] = field(default_factory=dict)
    """Path below the data's root to reason, of files that were skipped."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """From a checkpoint's state, which holds further keys, and lacks those that are newer than it."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})
