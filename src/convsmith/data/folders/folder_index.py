"""The index of a folder of very many images, kept as `open_kept` keeps it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.image_folder import open_image_folder
from convsmith.data.image_data import ImageData
from convsmith.data.kept_index import Finding, open_kept
from convsmith.data.packed_data import Home, pack_images, unpack_images
from convsmith.data.split import Share


def open_large_folder(root: Path, share: Share | None, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> ImageData:
    """`open_image_folder`; what was found of very many images before is taken over, unless a folder has changed."""
    root = root.absolute()
    more = sorted(suffixes - IMAGE_SUFFIXES)
    finding = Finding(
        lambda: open_image_folder(root, share, suffixes), pack_images, partial(unpack_images, Home(root, root))
    )
    return open_kept(root, f"images {share} {more}", finding)
