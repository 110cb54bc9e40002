"""JSON schemas of bodies that no route declares, since it reads them itself."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a kind of body, whole in itself."""
    schema = kind.model_json_schema()
    inner = schema.pop("$defs", {})

    def whole(value: Any) -> Any:
        if isinstance(value, dict):
            if "$ref" in value:
                return whole(inner[value["$ref"].rpartition("/")[2]])
            return {key: whole(it) for key, it in value.items()}
        return [whole(it) for it in value] if isinstance(value, list) else value

    found: dict[str, Any] = whole(schema)
    return found
