"""The one error a user can cause, and sees without a traceback; and words for messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_OPTIONS = re.compile(r"(?<!\S)--(out|shard|max-drop|images|method)\b")


class ConvsmithError(Exception):
    """Something the user can put right.

    Args:
        what: what happened, naming the file, key or value.
        why: the reason, where it is not plain from `what`.
        fix: what to do about it.
    """

    exit_code = 2
    """What the command line exits with."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    @property
    def on_command_line(self) -> str:
        """All of it, with options as the command line has them."""
        reason = f": {self.why}" if self.why else ""
        remedy = f"\n{self.fix}" if self.fix else ""
        return f"{self.what}{reason}{remedy}"

    def __str__(self) -> str:
        """All of it, with the arguments of Python's functions for options; quoted commands stay as they are."""
        parts = self.on_command_line.split("`")
        parts[::2] = [_OPTIONS.sub(lambda option: option[1].replace("-", "_") + "=", part) for part in parts[::2]]
        return "`".join(parts)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`'; did you mean `x`?'` for the known word nearest to `word`, else an empty string.

    The nearest is the one that differs in capitals and dashes alone, if there is one.
    """
    words = {plain(it): it for it in known}
    close = difflib.get_close_matches(plain(word), list(words), n=1, cutoff=0.6)
    return f"; did you mean `{words[close[0]]}`?" if close else ""


def plain(word: str) -> str:
    """A word without capitals and dashes, as which two are the same name."""
    return word.lower().replace("-", "_")


def counted(number: int, noun: str) -> str:
    """`number` of what `noun` names, with an s if it is not one: `1 image`, `2 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


PUBLISHED = False
"""Whether a package index has convsmith; until then it is installed from its own folder."""


def install_command(extra: str = "") -> str:
    """What installs convsmith with an extra, such as `pip install '.[serve]'`."""
    name = f"[{extra}]" if extra else ""
    return f"pip install 'convsmith{name}'" if PUBLISHED else f"pip install '.{name}'"


def upgrade_command(version: str = "") -> str:
    """What installs that version of convsmith or a later one; without a version, the newest."""
    wanted = f">={version}" if version else ""
    return f"pip install --upgrade 'convsmith{wanted}'" if PUBLISHED else "git pull && pip install ."


def require_extra(module: str, extra: str, purpose: str) -> ConvsmithError:
    """The error for a missing optional dependency."""
    return ConvsmithError(
        f"{purpose} needs the package `{module}`",
        "it is not installed here",
        f"Install it with: {install_command(extra)}{'' if PUBLISHED else ', in the folder of convsmith'}",
    )


_EXTRA_OF = {
    "torch": "train",
    "torchvision": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "mlflow": "mlflow",
    "skimage": "train",
    "sklearn": "train",
    "submitit": "slurm",
    "timm": "timm",
    "onnx": "export",
    "onnxscript": "export",
    "openvino": "openvino",
    "fastapi": "serve",
    "python_multipart": "serve",
    "uvicorn": "serve",
    "wandb": "wandb",
}


def missing_package(error: ModuleNotFoundError) -> ConvsmithError | None:
    """The error for an import that failed because an extra is not installed; None if that is not the reason."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF.get(package)
    return require_extra(package, extra, "this part of convsmith") if extra else None
