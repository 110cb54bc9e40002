"""Batch prediction against its parts: decoding alone, inference alone, and `cs.predict_into`, in one run.

    .venv/bin/python benchmarks/batch_prediction.py BUNDLE PHOTOS [--images 1000] [--rounds 3] [--threads N]

PHOTOS is a folder; where it has fewer images than asked for, they take turns. Decoding is what prediction does before
the model: read, decode and preprocess in as many threads. Inference is the model alone, on batches that are there. What
the cores of one processor do for both adds up, so that beside the slower of the two there is the rate of their sum: on
a CPU nothing can be faster than that, on another device nothing than the slower one.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np

import convsmith as cs
from convsmith.bundle.read_ahead import read_ahead

BATCH = 32


def main() -> None:
    """Measure each in turn, in rounds, and print the medians of images a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    bundle = cs.load(options.bundle, threads=options.threads, device=options.device)
    there = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = list(islice(cycle(there), options.images))
    batch = np.stack([bundle.preprocess(path) for path in paths[:BATCH]])
    rates: dict[str, list[float]] = {"decoding": [], "inference": [], "predict_into": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            start = time.perf_counter()
            for _ in read_ahead(bundle.preprocess, paths, BATCH):
                pass
            rates["decoding"].append(len(paths) / (time.perf_counter() - start))
            start = time.perf_counter()
            for _ in range(len(paths) // BATCH):
                bundle.logits(batch)
            rates["inference"].append(len(paths) // BATCH * BATCH / (time.perf_counter() - start))
            start = time.perf_counter()
            cs.predict_into(bundle, paths, Path(folder) / "p.parquet")
            rates["predict_into"].append(len(paths) / (time.perf_counter() - start))
    found = {name: statistics.median(values) for name, values in rates.items()}
    slower = min(found["decoding"], found["inference"])
    both = 1 / (1 / found["decoding"] + 1 / found["inference"])
    print(f"{bundle.manifest.model['name']}, {bundle.place}, {len(paths)} images of {len(there)}, medians of images/s:")
    print("  ".join(f"{name} {value:.1f}" for name, value in found.items()))
    print(
        f"predict_into: {found['predict_into'] / slower:.3f} of the slower, {found['predict_into'] / both:.3f} of both"
    )
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


if __name__ == "__main__":
    main()
