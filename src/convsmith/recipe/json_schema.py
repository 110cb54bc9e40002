"""The JSON Schema that editors complete and check recipes with."""

from __future__ import annotations

from typing import Any

from convsmith.recipe.schema import Recipe


def recipe_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a recipe file.

    A file may extend another and then says only what differs, so no key is required here; `load_recipe` requires
    them of the whole.
    """
    schema: dict[str, Any] = _of_partial_file(Recipe.model_json_schema())
    extends = {
        "description": "The packaged recipe, or the YAML file relative to this one, that this one changes.",
        "type": "string",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "convsmith recipe",
        "properties": {"extends": extends, **schema["properties"]},
    }


def _of_partial_file(node: Any) -> Any:
    if isinstance(node, list):
        return [_of_partial_file(item) for item in node]
    if not isinstance(node, dict):
        return node
    # Without the key that tells them apart, several members of a union may fit: any of them is enough. A field that
    # is called `title` or `required` would be a schema, not a string or a list.
    dropped = {"required": list, "title": str, "discriminator": dict}
    return {
        {"oneOf": "anyOf"}.get(key, key): _of_partial_file(value)
        for key, value in node.items()
        if not isinstance(value, dropped.get(key, ()))
    }
