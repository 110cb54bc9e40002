"""The command `convsmith`. Nothing heavy is imported before a command runs, so that `--help` is instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer

from convsmith.cli import (
    ablate,
    benchmark,
    data,
    demo,
    distil,
    evaluate,
    export,
    launch,
    lr_find,
    models,
    plan,
    predict,
    profile,
    quantize,
    recipes,
    serve,
    train,
    weights,
)
from convsmith.cli.group import Group
from convsmith.cli.text import escape_what_cannot_be_printed, printable
from convsmith.errors import ConvsmithError, missing_package
from convsmith.launch.report import final_report, report
from convsmith.output import open_closed_streams

app = typer.Typer(
    name="convsmith",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # loading rich would take as long as all else together
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a folder of images to a served, verified model, with the published ConvNet recipes.",
)
app.command()(train.train)
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command()(predict.predict)
app.command()(quantize.quantize)
app.command()(distil.distil)
app.command()(serve.serve)
app.command()(benchmark.benchmark)
app.command()(plan.plan)
app.command()(ablate.ablate)
app.command()(lr_find.lr_find)
app.command()(profile.profile)
app.add_typer(launch.app, name="launch")
app.command()(models.models)
app.command()(weights.weights)
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.command()(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("convsmith"))
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    global _debug
    _debug = debug


_debug = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; what the user can put right is two lines on standard error and exit code 2."""
    open_closed_streams()
    escape_what_cannot_be_printed()
    earlier = final_report()
    if earlier is not None:
        sys.exit(earlier.exit_code)
    try:
        app(args=arguments)
    except (ConvsmithError, ModuleNotFoundError) as error:
        known = missing_package(error) if isinstance(error, ModuleNotFoundError) else error
        if _debug or known is None:
            raise
        if not report(known):
            with suppress(OSError):  # the exit code tells it too
                print("\n".join(map(printable, f"error: {known.on_command_line}".split("\n"))), file=sys.stderr)
        sys.exit(known.exit_code)


if __name__ == "__main__":
    main()
