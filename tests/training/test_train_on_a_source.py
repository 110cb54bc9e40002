"""A training on data of each source, from its first step over the bundle to the evaluation."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
import pytest

import convsmith as cs
from convsmith.data.open_data import open_data
from convsmith.data.shards.pack import pack
from convsmith.recipe.data import Data
from tests.training.test_interrupted import assert_same_run, finish, start, wait_for_step

pytestmark = pytest.mark.slow


def table(digits: Path, root: Path) -> Path:
    """The digits as a table that lies elsewhere, classes in turn."""
    files = sorted(digits.glob("*/*/*.png"), key=lambda file: file.name)
    rows = [f"{file},digit {file.parent.name},{file.parent.parent.name}\n" for file in files]
    (root / "digits.csv").write_text("".join(["path,label,split\n", *rows]))
    return root / "digits.csv"


def shards(digits: Path, root: Path) -> Path:
    """The digits of the table in several shards."""
    pack(open_data("classification", Data(), table(digits, root)), root / "shards", 30_000)
    assert len(list(root.glob("shards/train-*.tar"))) > 1
    return root / "shards"


def hugging_face(digits: Path, root: Path) -> Path:
    """The digits of the table as a data set that was saved to disk, with its splits."""
    rows = [line.split(",") for line in table(digits, root).read_text().splitlines()[1:]]
    names = sorted({label for _, label, _ in rows})
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=names))
    parts = datasets.DatasetDict()
    for split, part in (("train", "train"), ("validation", "val")):
        of_split = [(image, label) for image, label, its in rows if its == part]
        cells = [{"bytes": Path(image).read_bytes(), "path": None} for image, _ in of_split]
        columns = {"image": cells, "label": [names.index(label) for _, label in of_split]}
        parts[split] = datasets.Dataset.from_dict(columns, features=features)
    parts.save_to_disk(root / "saved")
    return root / "saved"


def without_an_image(data: Path, root: Path) -> Path:
    """The same data in another place, one of which lacks."""
    if data.is_file():
        (root / "other.csv").write_text("".join(data.read_text().splitlines(keepends=True)[:-1]))
        return root / "other.csv"
    if (data / "dataset_dict.json").is_file():
        parts = datasets.load_from_disk(str(data))
        parts["train"] = parts["train"].select(range(1, len(parts["train"])))
        parts.save_to_disk(root / "other")
        return root / "other"
    for shard in data.glob("*"):
        (root / shard.name).write_bytes(shard.read_bytes())
    min(root.glob("train-*.tar")).unlink()
    return root


@pytest.fixture(scope="module", params=[table, shards, hugging_face], ids=lambda make: make.__name__)
def data(request: pytest.FixtureRequest, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    make: Callable[[Path, Path], Path] = request.param
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONVSMITH_CACHE", str(root / "cache"))
        yield make(digits, root)


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    out = tmp_path_factory.mktemp("runs") / "straight"
    finish(data, out, "data.window=8")
    return cs.Run(out)


def test_the_bundle_is_judged_by_the_samples_of_val(run: cs.Run, data: Path) -> None:
    report = cs.evaluate(run.bundle, data)
    assert (report.images, report.held_out) == (20, True)
    assert report.labels == ("digit 0", "digit 1", "digit 2", "digit 3")
    judged = [line["top1"] for line in run.metrics if line["split"] == "val"]
    assert report.top1 == pytest.approx(max(judged))


def test_a_killed_run_goes_on_bit_for_bit_with_another_number_of_workers(
    run: cs.Run, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with start(data, out, "data.window=8", "data.workers=1") as process:
        wait_for_step(process, out, 8)
        process.send_signal(signal.SIGKILL)
    assert process.poll() == -signal.SIGKILL
    finish(data, out, "data.window=8", "data.workers=3")
    assert_same_run(run.path, out)


def test_a_run_does_not_go_on_with_other_samples(run: cs.Run, data: Path, tmp_path: Path) -> None:
    other = without_an_image(data, tmp_path)
    with pytest.raises(cs.ConvsmithError, match="does not hold the data that this run began with"):
        cs.train(cs.Run(run.path).recipe, other, run.path)
