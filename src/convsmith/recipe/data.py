"""The section of a recipe about where samples come from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from convsmith.recipe.columns import Columns
from convsmith.recipe.mask_data import Masks
from convsmith.spec import MAX_CHANNELS, Count, Section
from convsmith.storage import size_of_text


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


def data_section(recipe: Mapping[str, Any]) -> Data | None:
    """How the data of a recipe that a bundle holds were read; None where it does not say so as it is read here."""
    try:
        return Data.model_validate_json(json.dumps(recipe.get("data")))
    except ValidationError:
        return None
