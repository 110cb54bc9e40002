"""The engine against bare loops: time of a training step, its overhead, memory, and what a checkpoint stalls.

    .venv/bin/python benchmarks/engine.py [--models resnet50,...] [--steps N] [--threads N]

For each model, each in a process of its own and in turn, on one batch of images that is there already:

- convsmith: the trainer with its defaults (precision auto, channels-last);
- bare: a loop of the same model, precision, layout, loss and optimizer, with nothing around it: the overhead;
- plain: float32 in contiguous layout, of torchvision or timm where they have the model.

Then resnet18 by `convsmith train` in one process and in two on the same cores; and, for the first model, how long the
loop waits for a checkpoint, how long it is written, and read again. Use an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import repeat
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from spread import spread
from torch import Tensor, nn
from torch.nn import functional

from convsmith.data.loading.loader import Batch
from convsmith.data.scenes import write_digit_scenes
from convsmith.models.registry import create_model
from convsmith.recipe.load import load_recipe
from convsmith.training.checkpoints.checkpoint import latest_checkpoint
from convsmith.training.checkpoints.writer import CheckpointWriter
from convsmith.training.fitting import advance_in_memory
from convsmith.training.precision import autocast
from convsmith.training.prepare import prepare_training, stepper_at_start
from convsmith.training.run import Run
from convsmith.training.stepper import Stepper

BATCH = {"resnet50": 16, "resnest50": 16, "convnext_tiny": 16, "hrnet_w18_seg": 4}
SIDE = 224
CLASSES = 100


def stepper(model: str, folder: Path) -> Stepper:
    """The steps of a plain recipe with `model` on noise, or on scenes for segmentation."""
    data = folder / "data"
    changes = [f"model.name={model}", f"batch.size={BATCH[model]}", f"batch.per_device={BATCH[model]}", "ema=null"]
    if model.endswith("_seg"):
        write_digit_scenes(data, 8, 2, (SIDE, SIDE))
        size = f"augment.random_scale_crop={{size: [{SIDE}, {SIDE}], scale: [1.0, 1.0], scale_step: 0}}"
        recipe = load_recipe("digit-scenes", [*changes, "model.options.channels=null", "loss.class_weights=null", size])
    else:
        write_noise(data, 2)
        recipe = load_recipe("resnet18-folder", [*changes, "data.val_fraction=0.5", "loss.label_smoothing=0"])
    recipe, dataset, plan = prepare_training(recipe, data)
    return stepper_at_start(recipe, plan, dataset, folder)


def write_noise(data: Path, images: int) -> None:
    """Write so many images of each class."""
    for i in range(images * CLASSES):
        path = data / "train" / f"{i % CLASSES:03}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)


def images_per_second(folder: Path, devices: int, threads: int) -> float:
    """The speed of `convsmith train` with resnet18 in processes that share `threads`: the better of two epochs."""
    out = folder / str(devices)
    command = [sys.executable, "-m", "convsmith.cli.main", "train", "resnet18-folder", "--data", str(folder / "data")]
    command += ["--out", str(out), "--devices", str(devices), "batch.size=32", f"batch.per_device={32 // devices}"]
    command += ["schedule.epochs=2", "schedule.warmup_epochs=0", "eval=false", "compile=false"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads // devices)}
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return max(float(line["images_per_second"]) for line in Run(out).metrics if line["split"] == "train")


def convsmith_step(made: Stepper, batch: Batch) -> Callable[[], object]:
    """The work of `convsmith train` in a step."""
    made.source, poll = repeat(batch), made.session.poll

    def step() -> None:
        poll.open(save=False, diverged=made.is_diverging)
        advance_in_memory(made)
        poll.close()

    return step


def bare_step(made: Stepper, batch: Batch) -> Callable[[], object]:
    """The same arithmetic with nothing around it."""
    model, objective = made.parts.model.train(), made.parts.objective
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True, weight_decay=1e-4, fused=True)

    def step() -> None:
        images = made.parts.normalize(batch.images.contiguous(memory_format=torch.channels_last))
        with autocast(made.parts.precision, "cpu"):
            loss = objective(model, images, batch.targets, 0)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def plain_step(name: str, batch: Batch) -> Callable[[], object]:
    """The loop of a tutorial, with the model of another library where one has it."""
    model = other_library(name).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9, nesterov=True, weight_decay=1e-4)
    images = batch.images.float() / 255

    def step() -> None:
        optimizer.zero_grad()
        output = model(images)
        logits: Tensor = output[-1] if isinstance(output, list) else output
        if logits.ndim == 4:
            logits = functional.interpolate(logits, batch.targets.shape[1:], mode="bilinear")
        functional.cross_entropy(logits, batch.targets.long(), ignore_index=255).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def other_library(name: str) -> nn.Module:
    """The model of torchvision or timm; convsmith's own for segmentation, which they lack."""
    if name.endswith("_seg"):
        return create_model(name, 11)
    if name == "resnest50":
        import timm

        return timm.create_model("resnest50d", num_classes=CLASSES)
    import torchvision

    return torchvision.models.get_model(name, num_classes=CLASSES)  # type: ignore[no-any-return]


def measure(name: str, way: str, steps: int) -> dict[str, Any]:
    """Seconds of each step, and the peak of memory in MiB, of this process."""
    with tempfile.TemporaryDirectory() as folder:
        made = stepper(name, Path(folder))
        batch = next(made.batches())
        if way == "convsmith":
            step = convsmith_step(made, batch)
        else:
            step = bare_step(made, batch) if way == "bare" else plain_step(name, batch)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        times = []
        for _ in range(2 + steps):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": times[2:], "mebibytes": (peak - before) / 1024}


def measure_checkpoint(name: str) -> dict[str, float]:
    """Seconds that the loop waits for a checkpoint, that writing takes besides, and that a resume takes to read it."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # on the disk, which a temporary folder need not be
        made = stepper(name, Path(folder))
        made.advance()
        writer = CheckpointWriter(Path(folder), keep=1)
        start = time.perf_counter()
        tensors = made.tensors()
        writer.save(1, tensors, made.session.progress.to_dict(), None)
        stall = time.perf_counter() - start
        writer.close()
        writing = time.perf_counter() - start - stall
        start = time.perf_counter()
        checkpoint = latest_checkpoint(Path(folder))
        Stepper(made.session, made.parts, checkpoint)
        return {"stall": stall, "writing": writing, "resuming": time.perf_counter() - start}


def in_new_process(*words: str) -> Any:
    """The output of this script for the words."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def main() -> None:
    """Measure each way twice, in turn, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(BATCH))
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    common = ("--steps", str(options.steps), "--threads", str(options.threads))
    if options.one:
        name, way = options.one
        print(json.dumps(measure_checkpoint(name) if way == "checkpoint" else measure(name, way, options.steps)))
        return
    print(f"{options.threads} threads, batches {BATCH}, {SIDE} x {SIDE}\n")
    print("| model | convsmith, s | to bare | bare, s | plain float32, s | to convsmith | MiB | plain, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    models = options.models.split(",")
    for name in models:
        seconds: dict[str, list[float]] = {"convsmith": [], "bare": [], "plain": []}
        memory = dict.fromkeys(seconds, inf)
        for _ in range(2):
            for way in seconds:
                measured = in_new_process("--one", name, way, *common)
                seconds[way] += measured["seconds"]
                memory[way] = min(memory[way], measured["mebibytes"])
        ours, bare, plain = (statistics.median(seconds[way]) for way in seconds)
        cells = [spread(seconds["convsmith"], 3), f"{ours / bare:.3f}", spread(seconds["bare"], 3)]
        cells += [spread(seconds["plain"], 3), f"{plain / ours:.2f}"]
        cells += [f"{memory['convsmith']:,.0f}", f"{memory['plain']:,.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    with tempfile.TemporaryDirectory() as place:
        write_noise(Path(place) / "data", 3)
        one, two = (images_per_second(Path(place), devices, options.threads) for devices in (1, 2))
        print(
            f"\nresnet18: one process {one:.1f} images/s, two on the same cores {two:.1f} ({two / one:.2f} x)",
            flush=True,
        )
    checkpoint = in_new_process("--one", models[0], "checkpoint", *common)
    print(
        f"checkpoint of {models[0]}: the loop waits {checkpoint['stall']:.3f} s, writing takes "
        f"{checkpoint['writing']:.3f} s more, reading and taking it up again {checkpoint['resuming']:.3f} s"
    )


if __name__ == "__main__":
    main()
