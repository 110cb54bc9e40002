"""Datasets of Ray Data that get answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import convsmith as cs
from tests.jobs.test_ray_workers import cluster, photos  # noqa: F401  # fixtures


class Named:
    """A dataset without the columns that are asked for."""

    def columns(self) -> list[str]:
        return ["image", "path"]


def test_a_dataset_without_the_column_of_images_is_refused(colour_bundle: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(cs.ConvsmithError, match="the dataset has no column `bytes`"):
        cs.ray.predict(colour_bundle, Named())


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
