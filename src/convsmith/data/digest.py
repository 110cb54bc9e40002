"""Digests of a data set: its files, classes and splits, and what is in the files, without reading all of it."""

from __future__ import annotations

import hashlib

import numpy as np

from convsmith.data.dataset import DataSet, Samples, splits

_LOOKED_INTO = 64  # samples of each part


def data_digest(dataset: DataSet) -> str:
    """Names files, classes and splits, wherever the folder lies, and the content of the files."""
    return f"{dataset.names_digest} {_content(*splits(dataset).values())}"


def has_names_of(dataset: DataSet, digest: str | None) -> bool:
    """Whether a digest names the same files, classes and splits; what is in the files may differ."""
    return digest is not None and f"{digest} ".startswith(f"{dataset.names_digest} ")


def has_content_of(dataset: DataSet, digest: str) -> bool:
    """Whether what is in the files is the same, too; older digests do not know."""
    return digest in (dataset.names_digest, data_digest(dataset))


def _content(*parts: Samples) -> str:
    """SHA-256 of the sizes of all files, and of the ends of some, the same ones each time."""
    content = hashlib.sha256()
    for part in parts:
        content.update(part.stats[:, :, 0].tobytes())
        for i in np.linspace(0, len(part) - 1, min(len(part), _LOOKED_INTO)).round().astype(int):
            for one in part.contents(i):
                try:
                    content.update(one.hash_of_ends().to_bytes(8, "little"))
                except (OSError, ValueError):  # it is a bad file, and stays one
                    content.update(b"none")
    return content.hexdigest()
