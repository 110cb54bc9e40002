"""convsmith models."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, NoReturn

import typer

from convsmith.cli.options import FactsAsJson
from convsmith.tables import aligned


def models(
    pattern: Annotated[str, typer.Argument(help="Shell pattern of names.")] = "*",
    as_json: FactsAsJson = False,
) -> None:
    """List the models that a recipe can name.

    GMACs are 1e9 multiply-adds for one image of the size beside them. A pattern that begins with timm/ or torchvision/
    lists the names of that library, and so does timm or torchvision alone.

    Example: convsmith models 'resnet*'
    """
    import json

    if pattern in ("timm", "torchvision"):
        pattern += "/*"
    if pattern.startswith(("timm/", "torchvision/")):
        from convsmith.models.registry import list_models

        names = list_models(pattern) or _none_fits(pattern, list_models(f"{pattern.partition('/')[0]}/*"))
        print(json.dumps([{"name": name} for name in names], indent=2) if as_json else "\n".join(names))
        return

    from convsmith.models.facts import list_facts
    from convsmith.models.weights.published import weights_of_models

    facts = list_facts(pattern) or _none_fits(pattern, list_facts())
    published = weights_of_models()
    weights = {name: published.get(name, []) for name in facts}
    if as_json:
        rows = [{"name": name, **it._asdict(), "weights": weights[name]} for name, it in facts.items()]
        print(json.dumps(rows, indent=2))
        return
    lines = [
        (
            name,
            it.task,
            f"{it.params / 1e6:.1f} M",
            f"{it.gmacs:.2f}",
            "x".join(map(str, it.size)),
            ", ".join(weights[name]),
        )
        for name, it in facts.items()
    ]
    # a table of rich, which folds what is too long, takes longer than all else
    print(aligned([("name", "task", "params", "GMACs", "at", "weights"), *lines], figures={2, 3, 4}))


def _none_fits(pattern: str, known: Iterable[str]) -> NoReturn:
    from convsmith.errors import ConvsmithError, did_you_mean

    raise ConvsmithError(
        f"no model's name fits `{pattern}`{did_you_mean(pattern.replace('*', ''), known)}",
        fix="`convsmith models` lists ours; timm/* and torchvision/* those of these libraries.",
    )
