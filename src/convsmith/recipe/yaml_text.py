"""Recipes as text: the part of YAML 1.2 that a recipe needs, read strictly and written so that it reads back.

A recipe may come from a stranger. The reader builds mappings, lists, text, numbers, true, false and null, and
nothing else; its size and depth are bounded, and anchors, aliases and tags are refused. It stands on PyYAML's
Python parser: the C one recurses without a bound, so that a file of brackets ends the process.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from convsmith.errors import ConvsmithError

MAX_BYTES = 1_000_000
MAX_DEPTH = 16
MAX_VALUES = 30_000  # keys and values; each takes 50 microseconds, and the weights of 21,000 classes are a list
KEY = re.compile(r"\w[\w-]{0,63}")  # no dot and no `=`: a dotted path names one key only

# YAML 1.2's core schema: unlike YAML 1.1, `1e-3` is a number, and yes, no, on, off and 2024-01-01 are text.
_PLAIN_SCALARS = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - add_implicit_resolver fills it
    depth = values = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if event.anchor is not None:
            raise ComposerError(None, None, "anchors and aliases (& and *) are not allowed", event.start_mark)
        if event.tag is not None:
            raise ComposerError(None, None, "tags (!) are not allowed", event.start_mark)
        if self.depth == MAX_DEPTH:
            raise ComposerError(None, None, f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        if self.values == MAX_VALUES:
            raise ComposerError(None, None, f"more than {MAX_VALUES:,} keys and values", event.start_mark)
        self.depth += 1
        self.values += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the name is PyYAML's
        return True


for _name, _pattern, _first in _PLAIN_SCALARS:
    for _side in (_Loader, _Dumper):  # the writer quotes what YAML 1.1 or this reader would not take for text
        _side.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _first)


def _write_text(dumper: yaml.SafeDumper, text: str) -> ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _write_text)


def read_yaml(data: bytes | str, name: str) -> tuple[Any, dict[str, int]]:
    """The value that YAML text holds, and the line of each of its keys by dotted path.

    Args:
        data: at most `MAX_BYTES` of UTF-8.
        name: how errors call the text.

    Raises:
        ConvsmithError: the text is too large, not UTF-8 or not YAML, or holds what a recipe cannot; it names the
            line and column.
    """
    if len(data) > MAX_BYTES:
        raise ConvsmithError(f"{name} is larger than a recipe can be ({MAX_BYTES:,} bytes)")
    lines: dict[str, int] = {}
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else _value(node, "", lines), lines
    except UnicodeDecodeError as error:
        raise ConvsmithError(f"{name} is not UTF-8 text", f"byte {error.start} cannot be decoded") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConvsmithError(where, ", ".join(part for part in (error.context, error.problem) if part)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConvsmithError(f"{name}:{line}", f"YAML has no character U+{error.character:04X}") from error
    except ValueError as error:  # PyYAML lets these out for escapes and versions beyond any sense
        raise ConvsmithError(f"{name} is not YAML", str(error)) from error


def write_yaml(value: Any) -> str:
    """A value on one line of YAML; `read_yaml` gives it back, and so does a reader of YAML 1.1."""
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("...\n").rstrip("\n")


def _value(node: Node, path: str, lines: dict[str, int]) -> Any:
    if isinstance(node, SequenceNode):
        return [_value(item, f"{path}[{index}]", lines) for index, item in enumerate(node.value)]
    if isinstance(node, MappingNode):
        return _mapping(node, path, lines)
    assert isinstance(node, ScalarNode)
    return _scalar(node)


def _mapping(node: MappingNode, path: str, lines: dict[str, int]) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node) if isinstance(key_node, ScalarNode) else None
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise _error(key_node, "a key must be a word of letters, digits, _ and -, at most 64 long")
        full = f"{path}.{key}" if path else key
        if key in mapping:
            raise _error(key_node, f"the key `{full}` stands twice, first on line {lines[full]}")
        lines[full] = key_node.start_mark.line + 1
        mapping[key] = _value(value_node, full, lines)
    return mapping


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    text: str = node.value
    match node.tag.rpartition(":")[2]:
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            if len(text) > 100:
                raise _error(node, "a number of more than 100 digits")
            return int(text)
        case "float":
            number = float(text) if text[-1] in ".0123456789" else math.nan
            if not math.isfinite(number):
                raise _error(node, f"{text[:100]} is not a finite number")
            return number
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _error(node, "half of a surrogate pair is not a character")
    return text


def _error(node: Node, problem: str) -> yaml.MarkedYAMLError:
    return ComposerError(None, None, problem, node.start_mark)
