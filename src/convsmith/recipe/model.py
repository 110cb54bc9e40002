"""The section of a recipe about the architecture and the weights that it starts from."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from convsmith.recipe.optimization import Ramp
from convsmith.spec import Section


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
