"""convsmith models."""

from __future__ import annotations

from typing import Annotated

import typer


def models(
    pattern: Annotated[str, typer.Argument(help="Shell pattern of names.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the models that a recipe can name.

    Example: convsmith models 'resnet*'
    """
    import json

    from convsmith.models.registry import list_models

    names = list_models(pattern)
    print(json.dumps(names) if as_json else "\n".join(names))
