"""A training on images that Python holds, which has to give them again to go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convsmith as cs
from tests.training.test_interrupted import RECIPE, assert_same_run, wait_for_step

pytestmark = pytest.mark.slow

TRAIN = """
import sys
import numpy as np
import convsmith as cs

held = np.load(sys.argv[1])
cs.train("digits", (held["images"], held["labels"]), sys.argv[2], overrides=sys.argv[3:])
"""


@pytest.fixture(scope="module")
def held(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = sorted(digits.glob("*/*/*.png"))
    path = tmp_path_factory.mktemp("held") / "digits.npz"
    images = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    np.savez(path, images=images, labels=np.array([file.parent.name for file in files]))
    return path


def training(held: Path, out: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", TRAIN, str(held), str(out), *RECIPE, "model.num_classes=null", *overrides]
    return subprocess.Popen(command, text=True)


def test_a_killed_run_goes_on_bit_for_bit_with_another_number_of_workers(held: Path, tmp_path: Path) -> None:
    straight, out = tmp_path / "straight", tmp_path / "killed"
    with training(held, straight) as process:
        assert process.wait() == 0
    with training(held, out, "data.workers=1") as process:
        wait_for_step(process, out, 8)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with training(held, out, "data.workers=2") as process:
        assert process.wait() == 0
    assert_same_run(straight, out)
    assert cs.load(out).predict(np.load(held)["images"][0]).to_dict()["label"] in "0123456789"


def test_a_run_does_not_go_on_with_other_pixels(held: Path, tmp_path: Path) -> None:
    with training(held, tmp_path / "run", "schedule.epochs=1") as process:
        assert process.wait() == 0
    images, labels = (np.load(held)[name] for name in ("images", "labels"))
    images[0, 0, 0, 0] ^= 1
    with pytest.raises(cs.ConvsmithError, match="does not hold the data that this run began with"):
        cs.train(cs.Run(tmp_path / "run").recipe, (images, labels), tmp_path / "run")
