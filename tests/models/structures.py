"""The layers of each of our models, as a digest of how torch describes them.

    python -m tests.models.structures

writes those of all models anew.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

import torch
from torch import nn

from convsmith.models.registry import create_model, list_models

FILE = Path(__file__).with_name("structures.json")
CLASSES = 7


def structure(model: nn.Module) -> str:
    """Digest of the modules: the name, the class and the words of each, and its own tensors with their shapes."""
    told = blake2b(digest_size=8)
    for name, module in model.named_modules():
        tensors = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        shapes = [f"{key}{list(value.shape)}" for key, value in tensors]
        told.update(f"{name} {type(module).__name__} {module.extra_repr()} {shapes}\n".encode())
    return told.hexdigest()


def build(name: str) -> nn.Module:
    """The model with `CLASSES` classes, without memory for its weights."""
    with torch.device("meta"):
        return create_model(name, num_classes=CLASSES)


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: structure(build(name)) for name in list_models()}, indent=0) + "\n")
