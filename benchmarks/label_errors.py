"""Planted wrong labels that `convsmith data check --bundle` finds, beside cleanlab on the same probabilities.

    python benchmarks/label_errors.py CIFAR10/train WORK [IMAGES] [PYTHON] [NETWORK]

Some images of CIFAR-10 are taken, 5 % of them with a random wrong label. The recipe
`cifar_resnet20-cifar10-short` trains on each of 3 folds, so that every image is judged by a run that has not learned
from it. With NETWORK, a published name or a bundle, its embeddings judge them, as with `--embeddings`: linear
classifiers that have not learned from the image. PYTHON is an interpreter with cleanlab, which is asked about the same
probabilities.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from convsmith.analyze.confident_learning import find_label_errors
from convsmith.analyze.embed import embed
from convsmith.analyze.label_errors import Predicted, predict_by_embeddings, predict_unseen
from convsmith.analyze.published_bundle import bundle_or_published
from convsmith.data.checks.names import all_names
from convsmith.data.dataset import DataSet
from convsmith.data.open_data import open_data
from convsmith.progress import no_progress
from convsmith.recipe.data import Data

FOLDS, WRONG = 3, 0.05

CLEANLAB = """
import json, sys, numpy as np
from cleanlab.filter import find_label_issues
data = np.load(sys.argv[1])
rules = "confident_learning", "prune_by_noise_rate"
print(json.dumps({rule: find_label_issues(data["labels"], data["probabilities"], filter_by=rule,
    return_indices_ranked_by="self_confidence").tolist() for rule in rules}))
"""


def plant(images: Path, table: Path, count: int) -> set[str]:
    """Write a table of some images, of which 5 % have a wrong label; the names of these."""
    random = np.random.default_rng(0)
    files = sorted(images.glob("*/*.jpg"))
    chosen = [files[i] for i in sorted(random.choice(len(files), count, replace=False).tolist())]
    classes = sorted({file.parent.name for file in files})
    wrong, rows = set(), ["image,label"]
    for file, is_wrong in zip(chosen, random.random(count) < WRONG, strict=True):
        label = file.parent.name
        if is_wrong:
            label = str(random.choice([name for name in classes if name != label]))
            wrong.add(str(file))
        rows.append(f"{file},{label}")
    table.write_text("\n".join(rows) + "\n")
    return wrong


def report(rule: str, found: list[str], wrong: set[str]) -> None:
    """Print how many of those found are wrong, and how many of the wrong ones are found."""
    right = [name in wrong for name in found]
    of_first = ", ".join(
        f"{np.mean(right[:count]):.3f} of the first {count}" for count in (100, 500, 1000) if count <= len(found)
    )
    print(
        f"{rule}: {len(found)} found, precision {np.mean(right):.3f}, {of_first}, recall {sum(right) / len(wrong):.3f}"
    )


def by_runs(dataset: DataSet, table: Path, images: Path) -> Predicted:
    """Predict each image by a run of the fold that held it out."""
    runs = [table.parent / f"fold{fold}" for fold in range(FOLDS)]
    for fold, run in enumerate(runs):
        words = [f"data.folds={FOLDS}", f"data.fold={fold}", f"data.root={images.resolve()}"]
        command = ["train", "cifar_resnet20-cifar10-short", "--data", str(table), "--out", str(run), *words]
        if not (run / "bundle").exists():
            subprocess.run([sys.executable, "-m", "convsmith", *command], check=True)
    return predict_unseen("classification", dataset, table, runs)


def main(images: Path, work: Path, count: int, python: str, network: str) -> None:
    """Plant, predict, judge and compare."""
    work.mkdir(parents=True, exist_ok=True)
    table = work / "photos.csv"
    wrong = plant(images.resolve(), table, count)
    dataset = open_data("classification", Data(root=str(images.resolve())), table)
    if network:
        made = embed(bundle_or_published(network), [dataset.train, dataset.val], no_progress)
        judged, labels, probabilities, _ = predict_by_embeddings(dataset, made)
    else:
        judged, labels, probabilities, _ = by_runs(dataset, table, images)
    name = all_names(dataset)
    paths = [name(place).partition(" (line ")[0] for place in judged]
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    print(f"{len(judged)} images, {len(wrong)} wrong labels, {accuracy:.1%} of labels predicted")
    start = time.perf_counter()
    found = find_label_errors(labels, probabilities)
    print(f"{time.perf_counter() - start:.3f} s")
    report("convsmith", [paths[i] for i in found.tolist()], wrong)
    if python:
        np.savez(work / "probabilities.npz", labels=labels, probabilities=probabilities)
        answer = subprocess.run(
            [python, "-c", CLEANLAB, str(work / "probabilities.npz")], check=True, capture_output=True, text=True
        )
        for rule, issues in json.loads(answer.stdout.splitlines()[-1]).items():
            report(f"cleanlab {rule}", [paths[i] for i in issues], wrong)


if __name__ == "__main__":
    given = [*sys.argv[1:], *([""] * 5)]
    main(Path(given[0]), Path(given[1]), int(given[2] or 12_000), given[3], given[4])
