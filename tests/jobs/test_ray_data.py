"""Datasets of Ray Data that get answers."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import convsmith as cs
from convsmith.jobs import ray_data
from tests.jobs.test_ray_workers import COUNT, cluster, photos  # noqa: F401  # fixtures


class Named:
    """A dataset without the columns that are asked for."""

    def columns(self) -> list[str]:
        return ["image", "path"]


def test_a_dataset_without_the_column_of_images_is_refused(colour_bundle: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(cs.ConvsmithError, match="the dataset has no column `bytes`"):
        cs.ray.predict(colour_bundle, Named())


class Noting(Named):
    """A dataset that only notes how it is mapped."""

    def columns(self) -> list[str]:
        return ["bytes", "path"]

    def select_columns(self, _: list[str]) -> Noting:
        return self

    def map_batches(self, _: type, **how: Any) -> dict[str, Any]:
        return how


@pytest.mark.parametrize(("of_smallest", "cores"), [(1, 1), (2, 1), (4, 3), (16, 4)])
def test_a_worker_leaves_the_smallest_machine_a_core_that_reads(
    colour_bundle: Path, monkeypatch: pytest.MonkeyPatch, of_smallest: int, cores: int
) -> None:
    pytest.importorskip("pyarrow")
    monkeypatch.setattr(ray_data, "cores_of_smallest", lambda: of_smallest)
    assert cs.ray.predict(colour_bundle, Noting())["num_cpus"] == cores


def rows_of(table: Any) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: str(row["path"]))


@pytest.mark.slow
@pytest.mark.parametrize("top", [None, 2])
def test_a_dataset_gets_the_rows_that_a_file_gets(
    cluster: str,  # noqa: F811
    colour_bundle: Path,
    photos: Path,  # noqa: F811
    tmp_path: Path,
    top: int | None,
) -> None:
    data, parquet = pytest.importorskip("ray.data"), pytest.importorskip("pyarrow.parquet")
    cs.predict_into(colour_bundle, photos, tmp_path / "file.parquet", top=top, batch_size=4)
    images = data.read_binary_files(str(photos), include_paths=True)
    answers = cs.ray.predict(colour_bundle, images, top=top, batch_size=4, cores=1)
    answers.write_parquet(str(tmp_path / "dataset"))
    file, dataset = parquet.read_table(tmp_path / "file.parquet"), parquet.read_table(tmp_path / "dataset")
    assert dataset.schema.names == file.schema.names
    assert rows_of(dataset) == rows_of(file)


def batches(photos: Path, count: int = COUNT) -> Any:  # noqa: F811
    """A dataset of the images of several blocks."""
    data = pytest.importorskip("ray.data")
    paths = [str(path) for path in sorted(photos.iterdir())[:count]]
    return data.read_binary_files(paths, include_paths=True, override_num_blocks=10)


@pytest.mark.slow
def test_a_folder_gets_the_rows_that_a_file_gets(
    cluster: str,  # noqa: F811
    colour_bundle: Path,
    photos: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    whole = cs.predict_into(colour_bundle, photos, tmp_path / "file.parquet", top=2, batch_size=4)
    made = cs.ray.predict_into(colour_bundle, batches(photos), tmp_path / "out", top=2, batch_size=4, cores=1)
    assert made == whole
    assert rows_of(parquet.read_table(tmp_path / "out")) == rows_of(parquet.read_table(tmp_path / "file.parquet"))


@pytest.mark.slow
def test_images_that_are_new_join_those_that_have_rows(
    cluster: str,  # noqa: F811
    colour_bundle: Path,
    photos: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    cs.ray.predict_into(colour_bundle, batches(photos, 30), tmp_path / "out", cores=1)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    assert cs.ray.predict_into(colour_bundle, batches(photos), tmp_path / "out", cores=1).images == COUNT
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert cs.ray.predict_into(colour_bundle, batches(photos), tmp_path / "out", cores=1).images == COUNT


@pytest.mark.slow
def test_two_images_of_one_name_are_refused(
    cluster: str,  # noqa: F811
    colour_bundle: Path,
    photos: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    images = batches(photos, 3)
    with pytest.raises(cs.ConvsmithError, match="two images have one name"):
        cs.ray.predict_into(colour_bundle, images.union(images), tmp_path / "out", cores=1)


DRIVER = """
import sys
import ray
import convsmith as cs
from convsmith.jobs import ray_data
ray_data._IMAGES = 4
ray.init(address="auto", log_to_driver=False)
bundle, photos, out = sys.argv[1:]
images = ray.data.read_binary_files(photos, include_paths=True, override_num_blocks=10)
print(cs.ray.predict_into(bundle, images, out, batch_size=4, cores=1))
"""


@pytest.mark.slow
def test_a_driver_that_is_killed_again_and_again_gives_each_row_once(
    cluster: str,  # noqa: F811
    colour_bundle: Path,
    photos: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    cs.predict_into(colour_bundle, photos, tmp_path / "file.parquet", batch_size=4)
    out, command = tmp_path / "out", [sys.executable, "-c", DRIVER, str(colour_bundle), str(photos)]
    ended: list[int] = []
    while not ended or ended[-1]:
        before = len(list(out.glob("*.parquet")))
        with subprocess.Popen([*command, str(out)], stdout=subprocess.PIPE, text=True) as driver:
            while len(ended) < 3 and len(list(out.glob("*.parquet"))) <= before and driver.poll() is None:
                time.sleep(0.005)
            if len(ended) < 3:
                driver.kill()
            said = driver.communicate()[0]
        ended.append(driver.returncode)
    assert ended[:3] == [-signal.SIGKILL] * 3
    assert f"images={COUNT}" in said
    assert rows_of(parquet.read_table(out)) == rows_of(parquet.read_table(tmp_path / "file.parquet"))
