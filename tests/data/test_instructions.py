"""Instructions that an image costs, counted by callgrind, where time is too noisy to guard the hot paths.

A count is the slope between two numbers of images, so that what a process costs to start is not in it; beside it stands
that of the bare decoder on the same processor, so that another set of vector instructions changes both.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GOLDENS = Path(__file__).parents[1] / "goldens" / "instructions.json"
TOLERANCE = 0.05
FEW, MANY = 5, 25
BARE = "import simplejpeg\ndef each(): simplejpeg.decode_jpeg(data, 'RGB')"
WAYS = {
    "decode": """
from convsmith.bundle.images.bands import decode
from convsmith.spec import RGB
def each(): decode(data, "photo", RGB)
""",
    "predict": """
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.spec import Preprocess
def each(): read_and_preprocess(data, Preprocess(resize=256, crop=224))
""",
    "train": """
import numpy, torch
torch.set_num_threads(1)
from convsmith.bundle.images.bands import decode
from convsmith.data.augment.transform import train_transform
from convsmith.data.read_image import pixels_of
from convsmith.recipe.augmentation import Augment, RandomResizedCrop
from convsmith.spec import RGB, Preprocess
augment = Augment(random_resized_crop=RandomResizedCrop(size=224), hflip=0.5)
transform = train_transform(augment, Preprocess(resize=256, crop=224))
def each():
    torch.manual_seed(0)
    transform(pixels_of(decode(data, "photo", RGB)))
""",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed"),
]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JPEG of noise that is as large as one of a photograph."""
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (125, 166, 3), dtype=np.uint8))
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    small.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


@cache
def instructions(code: str, photo: Path) -> float:
    """Instructions of one image: what a process with many runs has more than one with few."""
    counts = []
    for runs in (FEW, MANY):
        script = f"data = open({str(photo)!r}, 'rb').read()\n{code}\nfor _ in range({runs}): each()"
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found, done.stderr
        counts.append(int(found[1]))
    return (counts[1] - counts[0]) / (MANY - FEW)


@pytest.mark.parametrize("way", WAYS)
def test_an_image_costs_as_many_instructions_as_it_did(way: str, photo: Path) -> None:
    ratio = instructions(WAYS[way], photo) / instructions(BARE, photo)
    assert ratio <= (1 + TOLERANCE) * json.loads(GOLDENS.read_text())[way]
