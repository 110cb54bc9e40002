"""Whether two checkouts of convsmith do the same: plans, weights, ONNX files and what an earlier run goes on to.

    .venv/bin/python benchmarks/unchanged.py BEFORE/src AFTER/src [--out FOLDER]

Each side works in processes of its own, with the same data; both together take some ten minutes. Compared are the plan
of every recipe that both have; the last weights and the ONNX bytes of six short runs (classification with many tricks,
OCR segmentation with an extra phase, training for INT8, two processes, one that is stopped and gone on with, one that
learns from a teacher); and a run that the earlier side began and the later one goes on with. The exit code is 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TRICKS = [
    "mixing={mixup_alpha: 0.2, cutmix_alpha: 1.0}", "augment.policy={name: trivial_augment}",
    "augment.random_erasing={probability: 0.2}", "ema={decay: 0.9}", "loss.label_smoothing=0.1", "clip_grad_norm=1",
    "sampling.name=balanced", "optimizer.name=adamw", "optimizer.lr=0.002",
]  # fmt: skip
SHORT = ["schedule.epochs=2", "schedule.warmup_epochs=1", "sampling.fraction=0.3", "data.workers=1", "seed=3"]
SCENES = ["schedule.epochs=1", "schedule.warmup_epochs=0", "sampling.fraction=0.2", "data.workers=0", "seed=3"]
SMALL = "augment.random_scale_crop.size=[64,64]"
RUNS: dict[str, tuple[str, str, list[str], list[str]]] = {
    "tricks": ("digits", "digits", [*SHORT, *TRICKS], []),
    "ocr": ("hrnet_w18_seg-folder", "scenes", [
        *SCENES, SMALL, "model.name=hrnet_w18_ocr", "model.weights=null", "batch.size=4",
        "schedule.extra={epochs: 1, lr: 0.001}",
    ], []),
    "int8": ("digits", "digits", [*SHORT, "quantization_aware={}"], []),
    "two": ("digits", "digits", SHORT, ["--devices", "2"]),
    "plain": ("digits", "digits", SHORT, []),
    "taught": ("digits", "digits", [*SHORT, "distillation={teacher: {bundle: TEACHER}}"], []),
}  # fmt: skip

MAKE_PLANS = """
import json, sys
import convsmith as cs
plans = {}
for name in cs.list_recipes():
    recipe = cs.load_recipe(name)
    weights = getattr(recipe.loss, "class_weights", None)
    classes = len(weights) if isinstance(weights, tuple) else 10
    words = [] if recipe.model.num_classes else [f"model.num_classes={classes}"]
    try:
        plans[name] = cs.plan(cs.load_recipe(name, words), num_samples=20000, devices=2).to_dict()
    except cs.ConvsmithError as error:
        plans[name] = str(error)
json.dump(plans, open(sys.argv[1], "w"))
"""


def work(source: Path, *arguments: str, may_stop: bool = False) -> None:
    """Run Python with the package of one side.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(source)}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode and not may_stop:
        raise RuntimeError(f"{source}: {' '.join(arguments)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def train(source: Path, name: str, data: Path, run: Path) -> None:
    """Train one of `RUNS` into a directory."""
    recipe, kind, overrides, options = RUNS[name]
    words = [word.replace("TEACHER", str(run.parent / "plain" / "bundle")) for word in overrides]
    command = ["train", recipe, "--data", str(data / kind), "--out", str(run), *options, *words]
    work(source, "-m", "convsmith.cli.main", *command)


def make(source: Path, out: Path, data: Path) -> dict[str, Any]:
    """All that one side makes: plans, and the digests of its runs' files."""
    work(source, "-c", MAKE_PLANS, str(out / "plans.json"))
    made: dict[str, Any] = {"plans": json.loads((out / "plans.json").read_text("utf-8"))}
    for name in RUNS:
        train(source, name, data, out / name)
        made[name] = digests(out / name)
    return made


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of the last checkpoint's weights and average, and of the bundle's model."""
    last = run / "checkpoints" / "last"
    files = {
        "weights": last / "model.safetensors",
        "ema": last / "ema.safetensors",
        "onnx": run / "bundle" / "model.onnx",
    }
    return {what: hashlib.sha256(file.read_bytes()).hexdigest() for what, file in files.items() if file.is_file()}


def begin_and_finish(before: Path, after: Path, out: Path, data: Path) -> dict[str, str]:
    """Digests of what the later side makes of a run that the earlier one stopped after its first epoch."""
    script = f"""
import convsmith as cs
class Stop:
    def __getattr__(self, name): return lambda *args, **kwargs: None
    def metrics(self, record):
        if record.split == "val":
            import os, signal
            os.kill(os.getpid(), signal.SIGTERM)
cs.train(cs.load_recipe("digits", {SHORT!r}), {str(data / "digits")!r}, {str(out)!r}, observers=[Stop()])
"""
    work(before, "-c", script, may_stop=True)
    if (out / "bundle").exists():
        raise RuntimeError("the run was to stop in the middle")
    train(after, "plain", data, out)
    return digests(out)


def compare(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Print what is equal and what differs, and count the latter."""
    plans = before["plans"].keys() & after["plans"].keys()
    wrong = sorted(name for name in plans if after["plans"][name] != before["plans"][name])
    print(f"plans: {len(plans) - len(wrong)} of {len(plans)} equal{''.join(f', not {name}' for name in wrong)}")
    different = len(wrong)
    for name in [*RUNS, "gone on with"]:
        unequal = [what for what, digest in before[name].items() if after[name].get(what) != digest]
        print(f"{name}: {', '.join(before[name])} {'equal' if not unequal else f'differ: {unequal}'}", flush=True)
        different += len(unequal)
    return different


def main() -> None:
    """Make everything on both sides and compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="src of the earlier checkout")
    parser.add_argument("after", type=Path, help="src of the later one")
    parser.add_argument("--out", type=Path, help="folder to keep what was made in")
    args = parser.parse_args()
    before, after = args.before.resolve(), args.after.resolve()
    out = args.out or Path(tempfile.mkdtemp(prefix="unchanged-"))
    data, folders = out / "data", (out / "before", out / "after")
    for folder in (data, *folders):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for name, folder in (("digits", "digits"), ("digit-scenes", "scenes")):
        work(before, "-m", "convsmith.cli.main", "data", "demo", name, str(data / folder))
    first, second = (make(source, folder, data) for source, folder in zip((before, after), folders, strict=True))
    first["gone on with"] = first["plain"]
    second["gone on with"] = begin_and_finish(before, after, out / "gone-on-with", data)
    sys.exit(compare(first, second) > 0)


if __name__ == "__main__":
    main()
