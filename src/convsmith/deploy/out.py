"""Which folder may be replaced by an artefact."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from convsmith.bundle.format import MANIFEST, read_manifest
from convsmith.bundle.model_card import CARD
from convsmith.data.folders.outputs import refuse_output_in_data
from convsmith.errors import ConvsmithError
from convsmith.storage import temporary_prefix


def check_out(out: Path, reads: Iterable[Path], data: Path) -> None:
    """Refuse to write where nothing can be written, or to replace anything but an artefact that is not its own source.

    Nor may it lie among the images of the data, where it would be taken for some of them.

    A whole bundle may be replaced with its model card if nothing else lies in its folder; and so may an empty folder.

    Args:
        out: the folder to write.
        reads: what must stay besides the data, wherever in `out` it is.
        data: the folder of images that it is measured by.

    Raises:
        ConvsmithError: it must not be written.
    """
    for kept in (*reads, data):
        if kept.resolve().is_relative_to(out.resolve()):
            raise ConvsmithError(
                f"{out} cannot be replaced", f"{kept} is read for it", "Choose another folder with --out."
            )
    refuse_output_in_data(out, data)
    try:
        is_mount = out.resolve().is_mount()
        place = next(parent for parent in out.resolve().parents if parent.exists())
        with TemporaryDirectory(dir=place, prefix=temporary_prefix(out.resolve())):
            pass
    except OSError as error:
        raise ConvsmithError(
            f"{out} cannot be written", error.strerror or str(error), "Choose another folder with --out."
        ) from error
    if is_mount:
        raise ConvsmithError(
            f"{out} cannot be replaced", "a disk is mounted there", f"Choose a folder below it: --out {out / 'bundle'}"
        )
    if out.exists() and not _is_free(out):
        raise ConvsmithError(
            f"{out} is there already", "it holds something else than an export", "Choose another folder with --out."
        )


def _is_free(out: Path) -> bool:
    if not out.is_dir():
        return False
    held = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    try:
        return not held or held - {CARD} == {MANIFEST, *read_manifest(out).files}
    except ConvsmithError:
        return False
