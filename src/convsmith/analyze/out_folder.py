"""Where an analysis leaves its files."""

from __future__ import annotations

from pathlib import Path

from convsmith.bundle.format import holds_run
from convsmith.data.folders.outputs import refuse_output_in_data
from convsmith.errors import ConvsmithError


def made_out_folder(out: Path, data: Path, what: str) -> Path:
    """The folder, made if need be.

    Args:
        out: where it is to be.
        data: the folder of images that is analysed.
        what: the analysis, for the message: it changes no run.

    Raises:
        ConvsmithError: it holds a run, lies among the images, or cannot be made.
    """
    refuse_output_in_data(out, data)
    if holds_run(out):
        raise ConvsmithError(f"{out} holds a run", f"{what} changes none", "Choose another folder with --out.")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConvsmithError(
            f"cannot write to {out}", error.strerror or str(error), "Choose another folder with --out."
        ) from error
    return out
