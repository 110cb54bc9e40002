"""Names by which servers of other makers know a model and its classes."""

from __future__ import annotations

import re
from pathlib import Path

from convsmith.bundle.format import Manifest


def served_name(manifest: Manifest) -> str:
    """The architecture's name as Kubernetes takes it: small letters, digits and `-`, at most 63, none at the ends."""
    words = re.findall(r"[a-z0-9]+", str(manifest.model.get("name", "")).lower())
    return "-".join(words)[-63:].strip("-") or "model"


def folder_name(folder: Path) -> str:
    """The name of a folder as Triton takes it for a model: letters, digits, `_` and `-`."""
    return re.sub("[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "model"


def label_lines(manifest: Manifest) -> bytes:
    """The labels, a line each."""
    return "".join(f"{' '.join(label.split())}\n" for label in manifest.labels).encode()
