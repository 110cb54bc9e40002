"""convsmith recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from convsmith.cli.group import Listing
from convsmith.cli.options import Overrides, RecipeName

app = typer.Typer(
    cls=Listing,
    help="List the packaged recipes that fit a pattern; `show` prints one, `schema` what any may say.\n\n"
    "Example: convsmith recipes 'convnext*'",
)


@app.command("list")
def list_all(
    pattern: Annotated[str, typer.Argument(help="Shell pattern of names.")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the packaged recipes, one in a line; `list` itself may be left out.

    Example: convsmith recipes 'convnext*'
    """
    from convsmith.errors import ConvsmithError, did_you_mean
    from convsmith.recipe.packaged import list_recipes, read_headlines

    headlines = read_headlines(pattern)
    if not headlines:
        raise ConvsmithError(
            f"no recipe's name fits `{pattern}`{did_you_mean(pattern.replace('*', ''), list_recipes())}",
            fix="`convsmith recipes` lists them all.",
        )
    if as_json:
        import json

        print(json.dumps([it._asdict() for it in headlines], indent=2))
        return
    from convsmith.tables import cut_to_terminal

    width = max(len(it.name) for it in headlines)
    for it in headlines:
        print(cut_to_terminal(f"{it.name:<{width}}  {it.description}"))


@app.command()
def show(
    recipe: RecipeName,
    overrides: Overrides = None,
) -> None:
    """Print a whole recipe as YAML; a remark behind each value says where it came from.

    Example: convsmith recipes show resnet50-in1k schedule.epochs=30 > mine.yaml
    """
    from convsmith.recipe.load import recipe_to_yaml, resolve

    resolved = resolve(recipe, overrides or ())
    print(recipe_to_yaml(resolved.recipe, resolved.origins), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, with which an editor completes and checks keys.

    Example: convsmith recipes schema > recipe.schema.json
    """
    import json

    from convsmith.recipe.json_schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))
