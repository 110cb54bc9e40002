"""Small tar shards."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.data.folders import png


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
