"""Small tar shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convsmith.data.dataset import Samples
from convsmith.data.open_data import open_data
from convsmith.recipe.data import Data
from tests.data.folders import png

ROWS = [("a", "cat"), ("b", "dog"), ("c", "cat"), ("d", "dog")]


def tar(members: Mapping[str, bytes] | Sequence[tuple[str, bytes]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive of plain files."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            add(archive, name, data)
    return content.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, link
    archive.addfile(member, io.BytesIO(data))


def labelled(*samples: tuple[str, str]) -> dict[str, bytes]:
    """The members of samples of (key, label), each image of another colour."""
    members: dict[str, bytes] = {}
    for i, (key, label) in enumerate(samples):
        members |= {f"{key}.png": png((i, 100, 50)), f"{key}.cls": label.encode()}
    return members


def write_shards(root: Path, shards: Mapping[str, Sequence[tuple[str, str]]]) -> Path:
    """Write `root/NAME` with samples of (key, label) for each name."""
    for name, samples in shards.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(tar(labelled(*samples)))
    return root


def write_splits(root: Path) -> Path:
    """Write two shards to train with and two to validate with, each with a sample for each of `ROWS`."""
    names = [(split, i) for split in ("train", "val") for i in range(2)]
    return write_shards(
        root, {f"{split}-{i}.tar": [(f"{split}{i}{key}", label) for key, label in ROWS] for split, i in names}
    )


def opened(place: str | Path) -> Any:
    """The shards at a path or an address, with nothing held out."""
    return open_data("classification", Data(), Path(place), hold_out=False)


def pixels(samples: Samples) -> list[bytes]:
    """The pixels of each sample."""
    return [np.asarray(samples.read(i)[0]).tobytes() for i in range(len(samples))]
