"""convsmith recipes."""

from __future__ import annotations

from typing import Annotated

import typer

from convsmith.cli.options import Overrides, RecipeName

app = typer.Typer()


@app.callback(invoke_without_command=True)
def recipes(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False
) -> None:
    """List the packaged recipes; `show` prints one, `schema` what any may say.

    Example: convsmith recipes
    """
    if context.invoked_subcommand is not None:
        return
    from convsmith.recipe.packaged import read_headlines

    headlines = read_headlines()
    if as_json:
        import json

        print(json.dumps([it._asdict() for it in headlines], indent=2))
        return
    from convsmith.cli.tables import add_names, new_table, print_table

    table = new_table()
    add_names(table, "name", "description", "source")
    for headline in headlines:
        table.add_row(*headline)
    print_table(table)


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
