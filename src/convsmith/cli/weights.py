"""convsmith weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convsmith.cli.group import Listing
from convsmith.cli.options import FactsAsJson, Offline
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.tables import add_figures, add_names, new_table, print_table

if TYPE_CHECKING:
    from convsmith.models.weights.origin import Origin
    from convsmith.models.weights.published import Weights

app = typer.Typer(
    cls=Listing,
    help="List the weights that `weights=` and a recipe's `model.weights` can name; `fetch` brings them ahead of time."
    "\n\nExample: convsmith weights 'resnet50*'",
)

Timeout = Annotated[
    float | None,
    typer.Option(min=0, help="Seconds that each download may take, waits and further tries included."),
]


@app.command("list")
def list_all(
    pattern: Annotated[str, typer.Argument(help="Shell pattern of names of weights or models.")] = "*",
    download: Annotated[bool, typer.Option("--download", hidden=True, help="As `fetch`.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, hidden=True, help="As of `fetch`.")] = None,
    as_json: FactsAsJson = False,
) -> None:
    """List weights, with what they reach and their licence; `list` itself may be left out.

    A pattern that begins with timm/ or torchvision/ lists those of that library.

    Example: convsmith weights 'resnet50*'

    Example: convsmith weights 'timm/convnext*'
    """
    if download:
        if pattern == "*":
            raise ConvsmithError("--download without a name would fetch all weights", fix="Name those to fetch.")
        fetch([pattern], timeout, as_json=as_json)
        return
    if timeout is not None:
        raise ConvsmithError("--timeout counts for downloads only", fix="Add --download, or leave it out.")
    if pattern in ("timm", "torchvision"):
        pattern += "/*"
    if pattern.startswith(("timm/", "torchvision/")):
        _list_bridged(pattern, as_json)
    else:
        _list_published(pattern, as_json)


@app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of weights, `timm/NAME`, or shell patterns of ours.")
    ],
    timeout: Timeout = None,
    _offline: Offline = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object of names and paths.")] = False,
) -> None:
    """Bring weights to this machine, unless they are here, and print where they are.

    Example: convsmith weights fetch resnet50.tv_v2 timm/convnext_tiny --timeout 600
    """
    import json

    paths = {key: path for name in names for key, path in _fetched(name, timeout)}
    print(json.dumps(paths, indent=2) if as_json else "\n".join(paths.values()))


def _fetched(name: str, timeout: float | None) -> list[tuple[str, str]]:
    if name.startswith("hf:"):
        from convsmith.models.weights.hub import hub_weights

        return [(name, str(hub_weights(name)))]
    if not name.startswith(("timm/", "torchvision/")):
        return [(row.name, str(row.download(within=timeout))) for row in _published(name)]
    from convsmith.models.bridge import fetched

    return [(name, str(fetched(name)))]


def _published(pattern: str) -> list[Weights]:
    from convsmith.models.weights.published import list_weights
    from convsmith.models.weights.published import weights as published

    rows = [published(name) for name in list_weights(pattern)]
    if not rows:
        known = {published(name).model for name in list_weights()} | set(list_weights())
        raise _none_fits(pattern, known)
    return rows


def _list_published(pattern: str, as_json: bool) -> None:
    rows = _published(pattern)
    if as_json:
        _print_json([row.model_dump(mode="json") for row in rows])
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


def _list_bridged(pattern: str, as_json: bool) -> None:
    from convsmith.models.weights.origin import bridged_origin, list_bridged_weights

    names = list_bridged_weights(pattern)
    if not names:
        raise _none_fits(pattern, list_bridged_weights(f"{pattern.partition('/')[0]}/*"))
    rows = [bridged_origin(name) for name in names]
    if as_json:
        _print_json([_facts(row) for row in rows])
        return
    table = new_table()
    add_names(table, "name")
    add_figures(table, "size", "resize")
    add_names(table, "method", "mean", "licence")
    for row in rows:
        rule, mean = row.preprocessing, " ".join(f"{value:.3f}" for value in row.mean)
        square = (
            ("-", "-", "-")
            if rule is None
            else (str(rule.crop), str(rule.resize), f"{rule.interpolation}, {rule.method}")
        )
        table.add_row(row.name, *square, mean, f"{row.licence or 'not said'}{' (!)' * row.is_restricted}")
    print_table(table)
    if any(row.is_restricted for row in rows):
        print("(!) the licence asks for more than to be named: read it before you use what is trained from these")


def _facts(origin: Origin) -> dict[str, Any]:
    from dataclasses import asdict

    rule = origin.preprocessing
    return {
        **asdict(origin),
        "preprocessing": rule and rule.model_dump(mode="json"),
        "restricted": origin.is_restricted,
    }


def _print_json(rows: list[dict[str, Any]]) -> None:
    import json

    print(json.dumps(rows, indent=2))


def _none_fits(pattern: str, known: Iterable[str]) -> ConvsmithError:
    return ConvsmithError(
        f"no weights and no model that has some fit `{pattern}`{did_you_mean(pattern.replace('*', ''), known)}",
        fix="`convsmith weights` lists them all; timm/* and torchvision/* those of these libraries.",
    )
