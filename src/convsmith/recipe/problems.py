"""Problems of a recipe, in the words of its author: every one, where it came from, what was meant."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from itertools import islice
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from convsmith.complaints import either, expected, shown
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.recipe.schema import Recipe
from convsmith.recipe.task_fit import Misfit
from convsmith.spec import Section

MAX_PROBLEMS = 20
_MAX_ERRORS = 1000  # of pydantic, which has one for each item of a list, and of each of a union's members

_MISSING = object()
_OTHER_WORDS = {  # words of the field that no spelling distance finds
    "learning_rate": "lr",
    "wd": "weight_decay",
    "mixup": "mixup_alpha",
    "cutmix": "cutmix_alpha",
    "smoothing": "label_smoothing",
}
_ITEMS = {str: "text", bool: "true or false"}  # what a list holds, where that is not numbers


def validate(values: Mapping[str, Any], origin: Callable[[str], str]) -> Recipe:
    """The recipe that plain values make.

    Args:
        values: nested mappings as `read_yaml` gives them.
        origin: tells where the value of a dotted path came from.

    Raises:
        ConvsmithError: names every problem, each on a line of its own.
    """
    try:
        # By way of JSON, where strict means what an author of YAML expects: a list for a tuple, 1 for 1.0, no "1".
        return Recipe.model_validate_json(json.dumps(values))
    except ValidationError as error:
        errors = error.errors(include_url=False)[:_MAX_ERRORS]
        problems = [
            f"{' and '.join(dict.fromkeys(map(origin, paths)))}: {text}"
            for paths, text in islice(_problems(errors, values), MAX_PROBLEMS + 1)
        ]
    if len(problems) > MAX_PROBLEMS:
        problems = [f"the recipe has more than {MAX_PROBLEMS} problems", *problems[:MAX_PROBLEMS]]
    elif len(problems) > 1:
        problems = [f"the recipe has {len(problems)} problems", *problems]
    raise ConvsmithError("\n  ".join(problems))


def sections_of(annotation: Any) -> Iterator[type[Section]]:
    """The sections that a field may hold: none, one, or several that a key of them tells apart."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from sections_of(argument)


def kinds_of(annotation: Any) -> dict[str, type[Section]]:
    """By name, the sections of a field that may hold several; empty where it holds one or none."""
    sections = list(sections_of(annotation))
    if len(sections) < 2:
        return {}
    key = kind_key(sections)
    return {word: section for section in sections for word in get_args(section.model_fields[key].annotation)}


def kind_key(sections: Iterable[type[Section]]) -> str:
    """The key that tells several sections of one field apart: `name`, or `method` of preprocessing."""
    return "name" if all("name" in section.model_fields for section in sections) else "method"


@cache
def known_keys(section: type[Section] = Recipe, prefix: str = "") -> dict[str, FieldInfo]:
    """Every key that a recipe may have, by dotted path; of several kinds with one key the last one's."""
    known: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        known[prefix + name] = field
        for below in sections_of(field.annotation):
            known |= known_keys(below, f"{prefix}{name}.")
    return known


def _problems(errors: list[ErrorDetails], values: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    """Paths and text of each problem."""
    wrong: dict[str, tuple[Any, list[str]]] = {}  # path: the value there, and what each member of a union expects
    incomplete = set()  # paths of lists that lack items
    for error in errors:
        path, given = _locate(error, values)
        match error["type"]:
            case "extra_forbidden":
                yield [path], _unknown(path, given, values)
            case "value_error" if path:
                yield [path], f"`{path}`: {error['ctx']['error']}"
            case "value_error":  # of keys in several sections
                cause = error["ctx"]["error"]
                # it names its keys, or writes them with dots, or in backticks
                words = [word.strip("`") for word in re.findall(r"`\w+`|\w+(?:\.\w+)+", str(cause))]
                keys = cause.keys if isinstance(cause, Misfit) else [word for word in words if word in known_keys()]
                yield list(keys) or [""], str(cause)
            case "missing" if not path.endswith("]"):
                yield [path], f"`{path}` is missing: {_purpose(path)}"
            case _:
                if error["type"] == "missing":  # of the items of a list
                    path, _, _ = path.rpartition("[")
                    incomplete.add(path)
                wrong.setdefault(path, (given, []))[1].append(_expected(error, path))
    for path, (given, wanted) in wrong.items():
        if path not in incomplete and any(other.startswith(f"{path}[") for other in wrong):
            continue  # the list is wrong because an item of it is
        words = re.findall("`(.+?)`", " ".join(wanted))
        meant = did_you_mean(given, words) if isinstance(given, str) else ""
        yield [path], f"`{path}` is {_show(given)}, expected {' or '.join(dict.fromkeys(wanted))}{meant}"


def _locate(error: ErrorDetails, values: Any) -> tuple[str, Any]:
    """The dotted path of an error and the value there."""
    path, here, parts = "", values, iter(error["loc"])
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
            here = here[part] if part < len(here) else here
        elif not path or any(sections_of(known_keys()[path].annotation)):
            path, here = _below(path, part), here.get(part, _MISSING)
            if path in known_keys() and kinds_of(known_keys()[path].annotation):
                next(parts, None)  # names the member of the union, which is not a key
        # else the part names a member of a plain union
    if error["type"].startswith("union_tag"):
        key = kind_key(sections_of(known_keys()[path].annotation))
        path, here = _below(path, key), here.get(key, _MISSING)
    return path, here


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _purpose(path: str) -> str:
    """The use of a missing key."""
    field = known_keys()[path]
    return field.description or next(section.__doc__ or "" for section in sections_of(field.annotation))


def _expected(error: ErrorDetails, path: str) -> str:
    """The kind of value that would be right, as a noun."""
    match error["type"]:
        case "union_tag_invalid" | "union_tag_not_found":
            return either(kinds_of(known_keys()[path.rpartition(".")[0]].annotation))
        case "missing" | "too_long" | "tuple_type":
            return _list_at(path)
    return expected(error)


def _list_at(path: str) -> str:
    """The items of a list, as a noun."""
    key, *indices = re.split(r"[][]+", path.removesuffix("]"))
    items = _items(known_keys()[key].annotation)
    for index in indices:
        items = _items(items[0] if ... in items else items[int(index)])
    if ... in items:
        pair = _items(items[0])
        return f"a list of {'lists ' + _words(pair) if pair else _ITEMS.get(items[0], 'numbers')}"
    return _words(items) if str in items else f"a list of {len(items)} numbers"


def _items(annotation: Any) -> tuple[Any, ...]:
    """The types that the tuple in an annotation holds; empty where there is none."""
    if get_origin(annotation) is tuple:
        return get_args(annotation)
    return next(filter(None, map(_items, get_args(annotation))), ())


def _words(items: tuple[Any, ...]) -> str:
    return f"[{', '.join('text' if item is str else 'number' for item in items)}]"


def _unknown(path: str, given: Any, values: Mapping[str, Any]) -> str:
    section, _, key = path.rpartition(".")
    known = known_keys()
    if path in known:  # of another member of the union
        kind: Any = values
        for step in section.split("."):
            kind = kind[step]
        key = kind_key(sections_of(known[section].annotation))
        return f"unknown key `{path}` where {section}.{key} is `{kind[key]}`"
    while isinstance(given, dict) and len(given) == 1:  # name `optimiser.lr`, not only `optimiser`
        [(key, given)] = given.items()
        section, path = path, f"{path}.{key}"
    near, siblings = _nearest(path, section, key)
    if near:
        return f"unknown key `{path}`; did you mean {either(near)}?"
    place, keys = (f"`{section}`", siblings) if section and siblings else ("a recipe", known_keys())
    return f"unknown key `{path}`; {place} has {', '.join(sorted(key for key in keys if '.' not in key))}"


def nearest_keys(word: str) -> list[str]:
    """Keys that a word may mean, the likeliest first: `schedule.epochs` by `epochs`, `model.name` by `model`."""
    if word not in known_keys():
        return _nearest(word, "", word)[0]
    below = next(sections_of(known_keys()[word].annotation), None)
    if below is None:
        return [word]
    usual = "name" if "name" in below.model_fields else next(iter(below.model_fields))
    return [_below(word, usual)]


def _nearest(path: str, section: str, key: str) -> tuple[list[str], dict[str, str]]:
    """Keys like an unknown one of a section, at most three; and the keys of that section, by their last part."""
    known = known_keys()
    key = _OTHER_WORDS.get(key, key)
    same = [other for other in known if other.rpartition(".")[2] == key or other.replace(".", "_") == key]
    if same:
        near = [other for other in same if other.split(".")[0] == path.split(".", maxsplit=1)[0]] or same
        return [other for other in near if _remoteness(other) == min(map(_remoteness, near))][:3], {}
    names = {other.rpartition(".")[2]: other for other in sorted(known, key=_remoteness, reverse=True)}
    siblings = {name: _below(section, name) for name in names if _below(section, name) in known}
    close = [siblings[name] for name in get_close_matches(key, siblings, 1, 0.7)]
    if not siblings:  # the section is wrong, and perhaps the key too
        close = get_close_matches(path, known, 1, 0.7)
    return close or [names[name] for name in get_close_matches(key, names, 1, 0.7)], siblings


def _remoteness(path: str) -> tuple[int, bool]:
    """How far a key is from what any recipe says: by depth, then whether its section may be left out."""
    return path.count("."), Recipe.model_fields[path.partition(".")[0]].default is None


def _show(value: Any) -> str:
    return "missing" if value is _MISSING else shown(value)
