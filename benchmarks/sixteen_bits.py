"""The cost of 256 levels for 16 bits: a small network learns CIFAR-10 in linear light, with all levels and with 256.

    python benchmarks/sixteen_bits.py CIFAR10 [IMAGES] [EPOCHS] [SEEDS]

Photographs are turned back into what a camera's sensor counts: 12 bits in 16, proportional to the light, with the noise
of single photons. Such numbers need fine levels most, since all shadows lie within the lowest few of 256. In the second
case each image has an exposure of its own, down to a sixteenth of the range, so that 256 levels become 16 to 256. Each
seed trains both ways from the same weights in the same order.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from convsmith.bundle.images.scaling import fitted
from convsmith.spec import Bands

HIGHEST, BATCH = 4095, 128


def photographs(root: Path, most: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, 32, 32, 3] and their classes, as many of each class."""
    folders = sorted(root.iterdir())
    files = [(file, label) for label, folder in enumerate(folders) for file in sorted(folder.iterdir())[: most // 10]]
    return np.stack([np.asarray(Image.open(file)) for file, _ in files]), np.array([label for _, label in files])


def counts_of_sensor(images: NDArray[np.uint8], darkest: float, seed: int) -> NDArray[np.uint16]:
    """The counts that a sensor of 12 bits would give for images of sRGB, with the noise of photons and of reading."""
    random = np.random.default_rng(seed)
    srgb = (images + random.random(images.shape)) / 256
    light = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    exposure = np.exp2(random.uniform(np.log2(darkest), 0, (len(images), 1, 1, 1)))
    photons = random.poisson(light * exposure * HIGHEST) + random.normal(0, 2, images.shape)
    return np.clip(np.rint(photons), 0, HIGHEST).astype(np.uint16)


def to_256_levels(counts: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The input of a network by a recipe with `preprocess.range=[0, 4095]`, 0 to 1."""
    bands = Bands(3, (0, HIGHEST))
    return np.stack([fitted(image, "image", bands) for image in counts]).astype(np.float32) / np.float32(255)


def to_all_levels(counts: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The same without rounding."""
    return counts.astype(np.float32) / np.float32(HIGHEST)


def small_network() -> nn.Sequential:
    """Six convolutions."""
    layers: list[nn.Module] = []
    for source, width, stride in ((3, 24, 2), (24, 24, 1), (24, 48, 2), (48, 48, 1), (48, 96, 2), (96, 96, 1)):
        layers += [nn.Conv2d(source, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))


def learn(images: Tensor, targets: Tensor, epochs: int, seed: int) -> nn.Module:
    """Train from a seed's weights in its order, with flips and a rate that falls as a cosine."""
    torch.manual_seed(seed)
    model, generator = small_network(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, steps)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator)[: len(images) // BATCH * BATCH]
        for places in order.view(-1, BATCH):
            batch = images[places]
            flipped = torch.rand(len(batch), 1, 1, 1, generator=generator) < 0.5
            loss = functional.cross_entropy(model(torch.where(flipped, batch.flip(3), batch)), targets[places])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return model.eval()


def main(root: Path, most: int, epochs: int, seeds: int) -> None:
    """Train and compare."""
    learned, judged = photographs(root / "train", most), photographs(root / "val", 10**9)
    targets = torch.from_numpy(learned[1])
    for darkest in (1, 1 / 16):
        sides = [counts_of_sensor(images, darkest, seed) for seed, (images, _) in enumerate((learned, judged))]
        rights = []
        for levels in (to_all_levels, to_256_levels):
            train, val = (torch.from_numpy(levels(side)).permute(0, 3, 1, 2).contiguous() for side in sides)
            mean, std = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True)
            right = []
            for seed in range(seeds):
                model = learn((train - mean) / std, targets, epochs, seed)
                with torch.inference_mode():
                    right.append(float((model((val - mean) / std).argmax(1).numpy() == judged[1]).mean()))
                print(f"  {levels.__name__}, seed {seed}: {right[-1]:.2%}", flush=True)
            rights.append(right)
        lost = np.subtract(rights[0], rights[1])
        print(
            f"darkest exposure {darkest}: all levels {np.mean(rights[0]):.2%}, 256 levels {np.mean(rights[1]):.2%}, "
            f"lost {lost.mean():.2%} with a standard error of {lost.std(ddof=1) / np.sqrt(seeds):.2%}",
            flush=True,
        )


if __name__ == "__main__":
    given = [*sys.argv[1:], *([""] * 3)]
    main(Path(given[0]), int(given[1] or 12_000), int(given[2] or 8), int(given[3] or 3))
