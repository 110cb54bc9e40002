"""convsmith weights."""

from __future__ import annotations

from typing import Annotated

import typer

from convsmith.cli.options import FactsAsJson
from convsmith.cli.tables import add_figures, add_names, new_table, print_table


def weights(
    pattern: Annotated[str, typer.Argument(help="Shell pattern of names of weights or models.")] = "*",
    download: Annotated[
        bool, typer.Option("--download", help="Fetch those that fit, and print where they are, instead of facts.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Seconds that each download may take, waits and further tries included."),
    ] = None,
    as_json: FactsAsJson = False,
) -> None:
    """List the published weights that `weights=` and a recipe's `model.weights` can name, or fetch them ahead of time.

    Example: convsmith weights 'resnet50*'

    Example: convsmith weights resnet50.tv_v2 --download --timeout 600
    """
    import json

    from convsmith.errors import ConvsmithError, did_you_mean
    from convsmith.models.weights.published import list_weights
    from convsmith.models.weights.published import weights as published

    rows = [published(name) for name in list_weights(pattern)]
    if not rows:
        known = {published(name).model for name in list_weights()} | set(list_weights())
        raise ConvsmithError(
            f"no weights and no model that has some fit `{pattern}`{did_you_mean(pattern.replace('*', ''), known)}",
            fix="`convsmith weights` lists them all.",
        )
    if download:
        if pattern == "*":
            raise ConvsmithError("--download without a name would fetch all weights", fix="Name those to fetch.")
        paths = {row.name: str(row.download(within=timeout)) for row in rows}
        print(json.dumps(paths, indent=2) if as_json else "\n".join(paths.values()))
        return
    if timeout is not None:
        raise ConvsmithError("--timeout counts for downloads only", fix="Add --download, or leave it out.")
    if as_json:
        print(json.dumps([row.model_dump(mode="json") for row in rows], indent=2))
        return
    table = new_table()
    add_names(table, "name")
    add_figures(table, "top-1", "top-5", "mIoU", "size", "params", "GMACs")
    add_names(table, "dataset", "licence")
    for row in rows:
        accuracy = ("-" if value is None else f"{value:.2f}" for value in (row.top1, row.top5, row.miou))
        height, width = row.input_size
        size = str(height) if height == width else f"{height}x{width}"
        cost = (size, f"{row.params / 1e6:.1f} M", f"{row.gmacs:.2f}")
        table.add_row(row.name, *accuracy, *cost, row.dataset, row.licence)
    print_table(table)
