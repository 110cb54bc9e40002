"""Keys of the command line that would do nothing are refused; inherited ones pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from tests.recipe.examples import MASKS, WHOLE, error_of, write

IDLE = [
    (WHOLE, "optimizer.lr_batch=512", "optimizer.lr_scaling=linear"),
    (WHOLE, "schedule.warmup_lr=0.01", "schedule.warmup_epochs=2"),
    (WHOLE, "schedule.warmup=constant", "schedule.warmup_steps=2"),
    (WHOLE, "mixing={mixup_alpha: 0.2, switch_probability: 0.9}", "mixing.cutmix_alpha=1"),
    (WHOLE, "data.max_bad=0.1", "data.on_error=skip"),
    (WHOLE + "eval: false\n", "eval_every=2", "eval=true"),
    (WHOLE + "loss: {name: binary_cross_entropy}\n", "loss.threshold=0.2", "loss.label_smoothing=0.1"),
    (WHOLE.replace("  epochs: 10", "  name: constant\n  epochs: 10"), "schedule.by=epoch", "schedule.warmup_epochs=2"),
    (MASKS, "preprocess.align_corners=true", "preprocess.base_size=64"),
    (MASKS, "preprocess.mirrored_classes=[[0, 1]]", "augment.hflip=0.5"),
    (MASKS, "data.masks.extra=train+val", "schedule.extra={epochs: 1, lr: 0.01}"),
    (MASKS, "preprocess.window={size: [32, 32], above_scale: 0.5}", "preprocess.scales=[0.5, 1]"),
]


@pytest.mark.parametrize(("text", "word", "companion"), IDLE, ids=[word for _, word, _ in IDLE])
def test_a_key_without_what_it_needs_is_refused(tmp_path: Path, text: str, word: str, companion: str) -> None:
    path = write(tmp_path, whole=text)
    assert "does nothing: " in error_of(path, [word])
    load_recipe(path, [word, companion])


def test_all_of_them_are_named_with_the_reason(tmp_path: Path) -> None:
    message = error_of(write(tmp_path, whole=WHOLE), ["optimizer.lr_batch=512", "schedule.warmup_lr=0.01"])
    assert message.startswith("command line: `optimizer.lr_batch` does nothing: optimizer.lr_scaling is none\n")
    assert "`schedule.warmup_lr` does nothing: schedule.warmup_epochs is 0" in message


def test_a_key_that_says_its_default_is_fine(tmp_path: Path) -> None:
    load_recipe(write(tmp_path, whole=WHOLE), ["optimizer.lr_batch=256", "schedule.warmup=linear"])


def test_whoever_takes_the_warmup_away_may_leave_its_keys(tmp_path: Path) -> None:
    whole = WHOLE.replace("  epochs: 10", "  epochs: 10\n  warmup_epochs: 2\n  warmup_lr: 0.01")
    path = write(tmp_path, whole=whole)
    assert load_recipe(path, ["schedule.warmup_epochs=0"]).schedule.epochs == 10
    with pytest.raises(ConvsmithError, match="does nothing"):
        load_recipe(path, ["schedule.warmup_epochs=0", "schedule.warmup_lr=0.02"])
