"""INT8 on an x86 processor without VNNI, emulated: `apt-get install qemu-user`."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import convsmith as cs
from convsmith.deploy.bundle import make_bundle
from convsmith.deploy.parity import Parity
from convsmith.deploy.quantize import quantize_bundle
from convsmith.processor import native_target

QEMU = shutil.which("qemu-x86_64")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SCRIPT = """
import sys
import numpy as np
import convsmith as cs
folder, names = sys.argv[1], sys.argv[2:]
images = np.load(f"{folder}/images.npy")
bundles = {name: cs.load(f"{folder}/{name}", threads=1) for name in names}
np.savez(f"{folder}/emulated.npz", **{name: bundle.logits(images) for name, bundle in bundles.items()})
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 is not installed: apt-get install qemu-user"),
    pytest.mark.skipif(platform.machine() != "x86_64" or native_target() is None, reason="this processor has no VNNI"),
]


@pytest.fixture(scope="module")
def answers(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Logits of 40 images of CIFAR-10, by processor and model, and what the emulated one wrote on standard error."""
    root = tmp_path_factory.mktemp("emulated")
    with tarfile.open(test_data / "data" / "cifar10.tar.gz") as archive:
        archive.extractall(root, [m for m in archive if m.name.startswith("cifar10/val/")], filter="data")
    data = root / "cifar10" / "val"
    model = cs.create_model("cifar_resnet20")
    cs.load_weights(model, test_data / "data" / "cifar_resnet20.th")
    recipe = cs.load_recipe("cifar_resnet20-cifar10")
    noise = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    make_bundle(root / "float", model, recipe, labels=CLASSES, metrics={}, images=[noise])
    for target in ("any-x86", "vnni"):
        quantize_bundle(root / "float", data, root / target, target=target, images=256, max_drop=5)
    names = ("float", "any-x86", "vnni")
    bundles = {name: cs.load(root / name) for name in names}
    images = np.stack([bundles["float"].preprocess(path) for path in sorted(data.rglob("*.jpg"))[::125]])
    np.save(root / "images.npy", images)
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [str(QEMU), "-cpu", "Haswell", str(Path(sys.executable).resolve()), "-c", SCRIPT, str(root), *names],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    here = {name: bundle.logits(images) for name, bundle in bundles.items()}
    return {"here": here, "emulated": dict(np.load(root / "emulated.npz")), "said": {"stderr": done.stderr}}


def decibels(exact: Any, other: Any) -> float:
    parity = Parity()
    parity.add(exact, other)
    return parity.distance()["snr_db"]


def test_the_float_model_says_the_same_there(answers: dict[str, dict[str, Any]]) -> None:
    assert np.abs(answers["here"]["float"] - answers["emulated"]["float"]).max() < 1e-4


def test_weights_of_seven_bits_say_the_same_there_bit_for_bit(answers: dict[str, dict[str, Any]]) -> None:
    assert np.array_equal(answers["here"]["any-x86"], answers["emulated"]["any-x86"])
    assert decibels(answers["here"]["float"], answers["emulated"]["any-x86"]) > 24


def test_weights_of_eight_bits_lose_half_their_decibels_there(answers: dict[str, dict[str, Any]]) -> None:
    assert decibels(answers["here"]["float"], answers["here"]["vnni"]) > 26
    assert decibels(answers["here"]["float"], answers["emulated"]["vnni"]) < 20


def test_loading_warns_there_of_eight_bits_alone(answers: dict[str, dict[str, Any]]) -> None:
    lines = [line for line in answers["said"]["stderr"].splitlines() if "cut off" in line]
    assert len(lines) == 1
    assert "vnni is INT8 for processors with VNNI" in lines[0]
