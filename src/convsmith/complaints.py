"""Complaints of pydantic, in the words of who wrote the value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from convsmith.errors import counted, did_you_mean

_KINDS = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_pattern_mismatch": "another text",
    "dict_type": "a section (keys below it)",
    "model_type": "a section (keys below it)",
    "model_attributes_type": "a section (keys below it)",
    "list_type": "a list",
    "tuple_type": "a list",
}


def expected(error: Mapping[str, Any]) -> str:
    """The kind of value that would be right in place of one error's, as a noun."""
    match error["type"], error.get("ctx", {}):
        case "literal_error", {"expected": words}:
            return either([word.strip("'") for word in re.split(", | or ", words)])
        case "greater_than", {"gt": limit}:
            return f"a number above {limit:.10g}"
        case "greater_than_equal", {"ge": limit}:
            return f"a number of at least {limit:.10g}"
        case "less_than", {"lt": limit}:
            return f"a number below {limit:.10g}"
        case "less_than_equal", {"le": limit}:
            return f"a number of at most {limit:.10g}"
        case "too_short", {"min_length": least}:
            return f"a list of at least {counted(least, 'item')}"
        case "too_long", {"max_length": most}:
            return f"a list of at most {counted(most, 'item')}"
    return _KINDS.get(error["type"], f"something else ({error['msg']})")


def first_problem(error: ValidationError, section: type[BaseModel]) -> str:
    """The first thing that is wrong with values for a `section`, by its key."""
    first = error.errors(include_url=False)[0]
    path = ""
    for part in first["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    match first["type"]:
        case "extra_forbidden":
            known = section.model_fields if len(first["loc"]) == 1 else {}
            others = f"; there are {', '.join(known)}" if known else ""
            return f"unknown key `{path}`{did_you_mean(path, known) or others}"
        case "value_error":
            text = str(first["ctx"]["error"])
            return f"`{path}`: {text}" if path else text
        case "missing":
            return f"`{path}` is missing"
        case "json_invalid":
            return f"it is not JSON: {first['ctx']['error']}"
        case "union_tag_invalid" | "union_tag_not_found":
            key = str(first["ctx"]["discriminator"]).strip("'")
            return f"`{path}.{key}` names no kind of `{path}`"
    return f"`{path}` is {shown(first['input'])}, expected {expected(first)}"


def either(words: Iterable[str]) -> str:
    """The words in backquotes, as a choice."""
    quoted = [f"`{word}`" for word in words]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def shown(value: Any) -> str:
    """A value that was read from YAML or JSON, for a message."""
    if isinstance(value, dict):
        return "a section"
    text = json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= 60 else f"{text[:60]}..."
    return f"the text {text}" if isinstance(value, str) else text
