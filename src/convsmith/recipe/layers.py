"""Where a recipe's values come from: files that extend one another, then the command line. Later layers win."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.recipe.packaged import packaged
from convsmith.recipe.yaml_text import KEY, MAX_BYTES, MAX_DEPTH, read_yaml

COMMAND_LINE = "command line"
_LONGEST_NAME = 4096  # of a path, on most systems; an error repeats it


@dataclass(frozen=True)
class Layer:
    """One file, or the overrides of the command line."""

    name: str
    values: dict[str, Any]
    origins: dict[str, str]
    """The origin of each key, by dotted path: `my.yaml:7`, or `command line`."""


@dataclass(frozen=True)
class _Source:
    name: str
    file: Path | Traversable
    folder: Path | None
    """The folder that paths in the file are relative to; None where the file is packaged."""

    @property
    def identity(self) -> str:
        return str(self.file.resolve()) if isinstance(self.file, Path) else str(self.file)


def is_path(reference: str | Path) -> bool:
    """Whether a reference is the path of a file, not the name of a packaged one."""
    return isinstance(reference, Path) or "/" in reference or reference.endswith((".yaml", ".yml"))


def file_layers(source: str | Path) -> list[Layer]:
    """The file that `source` names and what it extends, the furthest ancestor first.

    Raises:
        ConvsmithError: a file is missing or is not a mapping, or the chain is a cycle.
    """
    layers: list[Layer] = []
    chain: list[_Source] = []
    here: _Source | None = _locate(source, Path(), "")
    while here is not None:
        if here.identity in [earlier.identity for earlier in chain]:
            circle = " extends ".join(f"`{link.name}`" for link in [*chain, here])
            raise ConvsmithError(f"a recipe cannot extend itself: {circle}", fix="Remove one `extends`.")
        chain.append(here)
        content, lines = _parse(_read(here), here.name)
        if not isinstance(content, dict):
            raise ConvsmithError(f"{here.name} is not a recipe", "a recipe is a mapping: lines of `key: value`")
        values = dict(content)
        origins = {path: f"{here.name}:{line}" for path, line in lines.items()}
        parent, where = values.pop("extends", None), origins.pop("extends", "")
        if where and not (parent and isinstance(parent, str)):
            raise ConvsmithError(where, "`extends` names one packaged recipe or one YAML file")
        layers.insert(0, Layer(here.name, values, origins))
        here = _locate(parent, here.folder, f"{where}: extends ") if parent else None
    return layers


def override_layer(overrides: Sequence[str]) -> Layer:
    """The layer that `key.sub=value` words make together, in their order.

    Raises:
        ConvsmithError: a word has no key or no value, or its value is not YAML.
    """
    layer: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for word in overrides:
        dotted, equals, text = word.partition("=")
        keys = dotted.split(".")
        if not equals or len(keys) > MAX_DEPTH or not all(KEY.fullmatch(key) for key in keys):
            example = "Write, for example, schedule.epochs=10."
            if word.endswith(".tar"):  # of a pattern that the shell has replaced by the names of files
                example = "Put a pattern that names several shards in quotes: 'photos-{000..012}.tar'."
            raise ConvsmithError(f"{COMMAND_LINE}: `{word}` is not key=value", fix=example)
        if not text.strip():
            raise ConvsmithError(f"{COMMAND_LINE}: `{word}` has no value", fix=f"{dotted}=null switches it off.")
        if dotted == "extends":
            raise ConvsmithError(
                f"{COMMAND_LINE}: `extends` belongs in a file", fix=f"Name {text} as the recipe itself."
            )
        value, lines = read_yaml(text, f"{COMMAND_LINE}: {dotted}")
        if json.dumps(value).count("#") < text.count("#"):
            raise ConvsmithError(
                f"{COMMAND_LINE}: `{word}` loses what follows #", "it starts a comment", "Put the value in quotes."
            )
        for key in reversed(keys):
            value = {key: value}
        layer = merge(layer, value)
        paths = [".".join(keys[: depth + 1]) for depth in range(len(keys))]
        origins |= dict.fromkeys([*paths, *(f"{dotted}.{path}" for path in lines)], COMMAND_LINE)
    return Layer(COMMAND_LINE, layer, origins)


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings merge key by key; anything else of the child, null too, replaces the parent's."""
    merged = dict(parent)
    for key, value in child.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _locate(reference: str | Path, folder: Path | None, context: str) -> _Source:
    if len(text := str(reference)) > _LONGEST_NAME:
        raise ConvsmithError(f"{context}`{text[:40]}...` is not a file's name", f"it has {len(text):,} characters")
    if not is_path(reference) or folder is None:
        library = packaged()
        if (name := str(reference)) not in library:
            raise ConvsmithError(
                f"{context}`{name}` is not a packaged recipe{did_you_mean(name, library)}",
                fix="`convsmith recipes` lists them; the name of a file of your own ends in .yaml.",
            )
        return _Source(name, library[name], None)
    path = folder / reference
    try:
        if path.is_file():  # not a folder, nor a pipe that would block
            return _Source(str(path), path, path.parent)
        if path.exists():
            kind = "a folder" if path.is_dir() else "a pipe, a socket or a device"
            raise ConvsmithError(f"{context}{path} is not a recipe's file", f"it is {kind}")
        near = [entry.name for entry in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
    except (OSError, ValueError) as error:
        raise ConvsmithError(f"{context}{path} cannot be read", str(error)) from error
    raise ConvsmithError(f"{context}there is no file {path}{did_you_mean(path.name, near)}")


_parse = lru_cache(maxsize=256)(read_yaml)  # many recipes share a base; what it returns is not changed


def _read(source: _Source) -> bytes:
    try:
        with source.file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConvsmithError(f"{source.name} cannot be read", error.strerror or str(error)) from error
