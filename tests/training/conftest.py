from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.ranks import run_ranks, train_tiny
from tests.training.tiny_model import name_tiny

# ResNet-20 on 16x16 digits: six steps an epoch, each some milliseconds, but tenths of a second in bf16.
SMALL = (
    "model.num_classes=null",
    "augment.random_crop.size=16",
    "preprocess.resize=16",
    "preprocess.crop=16",
    "batch.size=8",
    "schedule.epochs=3",
    "optimizer.lr=0.02",
    "data.workers=0",
    "precision=fp32",
)


@pytest.fixture(scope="module", autouse=True)
def precision_is_fp32() -> Iterator[None]:
    """Let `precision: auto` be fp32 on any processor: in bf16 small convolutions take three times as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.cpu.get_capabilities", dict)
        yield


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings end without a bundle, which takes longer than they do."""
    monkeypatch.setattr("convsmith.training.train.pack", lambda *_: None)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of real handwritten digits, 12 images each to train with and 5 to validate."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("digits")
    images, targets = load_digits(return_X_y=True)
    for digit in range(4):
        for i, pixels in enumerate(images[targets == digit][:17]):
            folder = root / ("train" if i < 12 else "val") / str(digit)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((pixels.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(folder / f"{i:02}.png")
    return root


@pytest.fixture(scope="session")
def alone(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of the tiny network."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    assert run_ranks(1, train_tiny, digits, out, ()) == ["finished"]
    return out


@pytest.fixture(scope="module")
def tiny() -> Iterator[None]:
    """Lets recipes name the network `tiny`."""
    with pytest.MonkeyPatch.context() as patch:
        name_tiny(patch)
        yield
