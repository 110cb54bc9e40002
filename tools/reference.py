"""The pages of the reference that the code itself writes: commands, recipe keys, models, formats, Python, HTTP ...

python tools/reference.py OUT
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer
from pydantic import ValidationError

import convsmith as cs
from convsmith.cli.main import app
from convsmith.deploy.format import find_format
from convsmith.deploy.formats import list_formats
from convsmith.models.facts import list_facts
from convsmith.models.weights.published import weights_of_models
from convsmith.recipe.schema import Recipe
from convsmith.recipe.tasks import list_tasks
from convsmith.serve.app import create_app

PYTHON = {
    "From images to a model": ("make", "train", "distil", "quantize", "calibrate", "export", "push"),
    "A model's answers": ("load", "predict", "predict_into", "ray", "embed", "explain", "Bundle", "Predictions"),
    "Answers": ("Classification", "Multilabel", "Segmentation", "Evaluation"),
    "How good it is": ("evaluate", "compare", "report", "benchmark", "ablate"),
    "Before a training": ("check_data", "plan", "lr_find", "profile", "doctor"),
    "Recipes, models and weights": (
        "load_recipe", "list_recipes", "Recipe", "Plan", "create_model", "list_models", "load_weights", "list_weights",
        "weights", "Weights", "Run",
    ),
    "Errors": ("ConvsmithError", "ImageError"),
}  # fmt: skip


_TYPES = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "keys and values"}
_TYPES |= {kind: kind for kind in ("null", "number")}

_STATUS = {"Successful Response": "the answer", "Validation Error": "a parameter is not understood"}  # FastAPI's words


def pages() -> dict[str, str]:
    """The text of each page by the name of its file."""
    schema = Recipe.model_json_schema()
    return {
        "index.md": _index(),
        "commands.md": "# Commands\n\n" + "\n".join(_commands(typer.main.get_command(app), ["convsmith"])),
        "recipe-keys.md": "# Recipe keys\n\nAll keys of a recipe file, by section. Every command takes them as "
        "`key.sub=value` words too. Where the column of the task is empty, all tasks have the key.\n\n"
        + "\n".join(_section("", schema, schema["$defs"], list_tasks())),
        "recipes.md": _recipes(),
        "models.md": _models(),
        "weights.md": _weights(),
        "formats.md": _formats(),
        "python.md": _python(),
        "http.md": _http(create_app(Path("bundle")).openapi()),
    }


def _index() -> str:
    return (
        "# Reference\n\nFacts, written by the code that they are about: [commands](commands.md), "
        "[recipe keys](recipe-keys.md), [recipes](recipes.md), [models](models.md), [weights](weights.md), "
        "[formats](formats.md), [Python](python.md), [HTTP](http.md).\n\n"
        "Written by hand, and held complete by tests: [metrics and their formulas](../metrics.md), "
        "[exit codes and variables](../command-line.md), [files on the disk](../files.md), [bundles](../bundle.md).\n"
    )


def _cell(text: str) -> str:
    """A text as a cell of a table, in which Markdown sees neither columns, tags nor references."""
    return re.sub(r"([|*\[\]])", r"\\\1", " ".join(text.split()).replace("<", "&lt;"))


def _commands(command: Any, path: list[str]) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from _commands(child, [*path, name])
        return
    context = command.context_class(command, info_name=" ".join(path))
    yield f"## {' '.join(path)}\n"
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```text\n{usage}\n```\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        example = re.match(r"Examples?: ?(.*)", paragraph, re.DOTALL)
        yield f"```text\n{inspect.cleandoc(example[1])}\n```\n" if example else f"{paragraph}\n"
    rows = [row for parameter in command.params if (row := _parameter(parameter, context))]
    if rows:
        yield "| option | |\n|---|---|"
        yield from rows
        yield ""


def _parameter(parameter: Any, context: Any) -> str | None:
    record = parameter.get_help_record(context) if not getattr(parameter, "hidden", False) else None
    if record is None:
        return None
    name, text = record
    return f"| {_code(name)} | {_cell(text)} |"


def _section(prefix: str, section: dict[str, Any], kinds: dict[str, Any], tasks: list[str]) -> Iterator[str]:
    """A table of the keys of a section that these tasks have, then those of the sections in it.

    `kinds` are all sections by their class.
    """
    inner: list[tuple[str, str, list[str]]] = []
    yield "| key | values | default | task | |\n|---|---|---|---|---|"
    for name, field in section["properties"].items():
        key = f"{prefix}{name}"
        found = [reference.rpartition("/")[2] for reference in _references(field)]
        of_kinds = [[task for task in tasks if _is_taken(task, _tries(key, kinds[kind]))] for kind in found]
        inner += [(key, *it) for it in zip(found, of_kinds, strict=True)]
        tries = [[(prefix, {**_least(section, prefix), name: value})] for value in _others(field)]
        taken = [task for task in tasks if key == "task" or any(_is_taken(task, it) for it in tries)]
        taken = [task for task in tasks if any(task in it for it in of_kinds)] if found else taken
        values = "a section" if found else _code(_values(field))
        default = "required" if name in section.get("required", ()) else _code(json.dumps(field.get("default")))
        default = "its defaults" if found and field.get("default") is not None else default
        words = "" if taken == list_tasks() else ", ".join(taken)
        yield f"| `{key}` | {values} | {default} | {words} | {_cell(_meaning(field, found, kinds))} |"
    yield ""
    for key, kind, taken in inner:
        name = kinds[kind]["properties"].get("name", {}).get("const")
        which = f", `name: {name}`" if name else ""
        yield f"## `{key}`{which}\n\n{_first_line(kinds[kind])}\n"
        yield from _section(f"{key}.", kinds[kind], kinds, taken)


def _first_line(section: dict[str, Any]) -> str:
    line: str = section.get("description", "").partition("\n")[0]
    return line


def _meaning(field: dict[str, Any], found: list[str], kinds: dict[str, Any]) -> str:
    said: str = field.get("description", "")
    return said or (_first_line(kinds[found[0]]) if found else "This kind." if "const" in field else "")


def _is_taken(task: str, values: list[tuple[str, Any]]) -> bool:
    """Whether the first of some values that is whole in itself is not refused because of the task."""
    for key, value in values:
        recipe = small = json.loads(_small_recipe(task))
        *above, last = key.strip(".").split(".")
        for part in above:
            small[part] = small = small.get(part) or {}
        small.update(value if not last else {last: value})
        try:
            Recipe.model_validate_json(json.dumps(recipe))
        except ValidationError as error:
            if any(re.search(r"\btask\b", it["msg"]) for it in error.errors()):
                return False
        else:
            return True
    return True


@cache
def _small_recipe(task: str) -> str:
    name = next(it for it in ("digits", "resnet18-multilabel", "digit-scenes") if cs.load_recipe(it).task == task)
    return cs.load_recipe(name).model_dump_json()


def _tries(key: str, section: dict[str, Any]) -> list[tuple[str, Any]]:
    least = _least(section, key)
    fields = section["properties"].items()
    return [(key, least), *((key, {**least, name: value}) for name, field in fields for value in _others(field))]


def _least(section: dict[str, Any], key: str) -> dict[str, Any]:
    """The keys without which a section is none, and its kind; the whole recipe, whose `key` is empty, has them."""
    fields = section["properties"]
    needed = [name for name, field in fields.items() if name in section.get("required", ()) or "const" in field]
    return {name: _others(fields[name])[0] for name in needed if key}


def _others(field: dict[str, Any]) -> list[Any]:
    """Values that a key may have and that are not its default, as far as its JSON Schema tells; one at least."""
    if "const" in field:
        return [field["const"]]
    part = field.get("anyOf", field.get("oneOf", [field]))[0]
    if part.get("type") == "array":
        items = part.get("prefixItems", [part.get("items", {})])
        return [[*it] for it in zip(*map(_others, items), strict=True)]
    low = part.get("minimum", part.get("exclusiveMinimum", 0))
    high = part.get("maximum", part.get("exclusiveMaximum", low + 2))
    small = {"integer": low + 1, "number": (low + high) / 2, "boolean": not field.get("default"), "object": {}}
    values = part.get("enum") or [small.get(part.get("type", ""))]
    return [it for it in values if it != field.get("default")] or [None]


def _references(field: dict[str, Any]) -> list[str]:
    several = field.get("anyOf", field.get("oneOf", ()))
    return [field["$ref"]] if "$ref" in field else [found for part in several for found in _references(part)]


def _code(text: str) -> str:
    return f"`{' '.join(text.split()).replace('|', chr(92) + '|')}`"


def _values(field: dict[str, Any]) -> str:
    """The values that a key may have, in words, by its JSON Schema."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if several := field.get("anyOf", field.get("oneOf")):
        return " or ".join(dict.fromkeys(map(_values, several)))
    if "enum" in field or "const" in field:
        return " or ".join(str(value) for value in field.get("enum", [field.get("const")]))
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = " ".join(f"{sign} {field[bound]}" for bound, sign in bounds.items() if bound in field)
    if field.get("type") == "array":
        items = field.get("items") or {"anyOf": field.get("prefixItems", [{}])}
        return f"list of {_values(items)}"
    return " ".join(filter(None, (_TYPES.get(field.get("type", ""), "any"), limits)))


def _recipes() -> str:
    rows = []
    for name in cs.list_recipes():
        recipe = cs.load_recipe(name)
        rows.append(f"| `{name}` | {recipe.task} | {recipe.model.name} | {_cell(recipe.description)} |")
    head = "# Recipes\n\n`convsmith recipes show NAME` prints all of one, and where each value came from.\n"
    return "\n".join([head, "| name | task | model | |", "|---|---|---|---|", *rows, ""])


def _models() -> str:
    weights = weights_of_models()
    rows = [
        f"| `{name}` | {it.task} | {it.params / 1e6:.1f} | {it.gmacs:.2f} | {it.size[0]} x {it.size[1]} | "
        f"{', '.join(f'`{it}`' for it in weights.get(name, ()))} |"
        for name, it in list_facts().items()
    ]
    head = (
        "# Models\n\n`cs.create_model(NAME)` and `model.name` take these, `timm/NAME` and `torchvision/NAME`. "
        "Parameters are in millions, GMACs 1e9 multiply-adds for one image of the size beside them. "
        "[Weights](weights.md) are those of the model itself; one for segmentation takes those of its backbone too.\n"
    )
    return _page(head, "| name | task | params | GMACs | size | weights |", "|---|---|--:|--:|---|---|", rows)


def _weights() -> str:
    rows = []
    for name in cs.list_weights():
        it = cs.weights(name)
        figure = next((f"{kind} {value:.2f} %" for kind, value in _accuracies(it) if value is not None), "")
        size = " x ".join(map(str, it.input_size))
        rows.append(f"| `{name}` | `{it.model}` | {_cell(it.dataset)} | {figure} | {size} | {_cell(it.licence)} |")
    head = (
        "# Published weights\n\n`model.weights` and `cs.create_model(..., weights=NAME)` take these names; "
        "`convsmith weights NAME` says all of one, with its source. The figure is the publisher's.\n"
    )
    return _page(head, "| name | model | data set | figure | size | licence |", "|---|---|---|---|---|---|", rows)


def _accuracies(weights: cs.Weights) -> tuple[tuple[str, float | None], ...]:
    return ("top-1", weights.top1), ("mIoU", weights.miou)


def _formats() -> str:
    rows = []
    for name in list_formats():
        it = find_format(name)
        made_of = "run" if it.needs_model else "run, bundle"
        code = "yes" if it.is_code else ""
        rows.append(f"| `{name}` | {_cell(it.summary)} | {made_of} | `[{it.extra}]` | `{it.device}` | {code} |")
    head = (
        "# Formats\n\n`convsmith export RUN --format NAME --out FOLDER --data PATH` takes these. One whose file may "
        "hold code is opened with `--allow-code` only. [Export](../export.md) says what is in the folder.\n"
    )
    return _page(head, "| name | for | made of | extra | runs on | code |", "|---|---|---|---|---|---|", rows)


def _page(head: str, names: str, columns: str, rows: list[str]) -> str:
    return "\n".join([head, names, columns, *rows, ""])


def _python() -> str:
    blocks = ["# Python\n\nEverything public is in `import convsmith as cs`.\n"]
    for title, names in PYTHON.items():
        blocks.append(f"## {title}\n")
        blocks += [f"::: convsmith.{name}\n" for name in names]
    return "\n".join(blocks)


def _http(schema: dict[str, Any]) -> str:
    blocks = ["# HTTP\n\n`GET /openapi.json` of a running server is the same for programs.\n"]
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            blocks.append(f"## {method.upper()} {path}\n\n{operation.get('description', '')}\n")
            parameters = operation.get("parameters", [])
            if parameters:
                blocks.append("| parameter | in | |\n|---|---|---|")
                blocks += [f"| `{it['name']}` | {it['in']} | {_cell(it.get('description', ''))} |" for it in parameters]
                blocks.append("")
            if body := operation.get("requestBody"):
                blocks.append(f"Body: {', '.join(f'`{kind}`' for kind in body['content'])}.\n")
                blocks += _json_bodies(body["content"])
            blocks.append("| status | content | |\n|---|---|---|")
            for status, answer in operation["responses"].items():
                kinds = ", ".join(_content(kind, it) for kind, it in answer.get("content", {}).items())
                blocks.append(
                    f"| {status} | {kinds} | {_cell(_STATUS.get(answer['description'], answer['description']))} |"
                )
            blocks.append("")
    for name, kind in schema["components"]["schemas"].items():
        blocks.append(f"## {name}\n\n{_first_line(kind)}\n")
        blocks += _json_keys(kind)
    return "\n".join(blocks)


def _content(kind: str, content: dict[str, Any]) -> str:
    """A kind of content, and the JSON objects that it may be, which have headings of their own."""
    names = [reference.rpartition("/")[2] for reference in _references(content.get("schema", {}))]
    links = " or ".join(f"[{name}](#{name.lower()})" for name in names)
    return f"`{kind}`: {links}" if links else f"`{kind}`"


def _json_bodies(contents: dict[str, Any]) -> Iterator[str]:
    for name, content in contents.items():
        body = content.get("schema", {})
        for kind in body.get("oneOf", body.get("anyOf", [body])):
            if kind.get("properties"):
                yield f"`{name}`: {kind.get('description', 'A form.')}\n"
            yield from _json_keys(kind)


def _json_keys(kind: dict[str, Any]) -> Iterator[str]:
    """A table of the keys of a JSON object, or a form; nothing for what has none."""
    if kind.get("properties"):
        yield "| key | values | |\n|---|---|---|"
        for name, field in kind["properties"].items():
            yield f"| `{name}` | {_code(_values(field))} | {_cell(field.get('description', ''))} |"
        yield ""


def main() -> None:
    """Write the pages into a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (out / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
