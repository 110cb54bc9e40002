"""The command `convsmith`. Nothing heavy is imported before a command runs, so that `--help` is instant."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from typing import Annotated, NoReturn

import typer
from typer.main import get_command_name

from convsmith import __version__
from convsmith.allocation import keep_freed_memory
from convsmith.cli import (
    ablate,
    benchmark,
    calibrate,
    compare,
    data,
    demo,
    distil,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    launch,
    lr_find,
    make,
    models,
    plan,
    predict,
    profile,
    push,
    quantize,
    recipes,
    report,
    serve,
    train,
    weights,
)
from convsmith.cli.group import Group
from convsmith.cli.panels import CommandInPanels
from convsmith.cli.text import escape_what_cannot_be_printed
from convsmith.errors import ConvsmithError, missing_package, of_system
from convsmith.launch.report import report as report_failure
from convsmith.output import (
    errors_name_the_output,
    open_closed_streams,
    output_that_may_be_lost,
    say_the_last_words,
)
from convsmith.waiting import NotAnswering, answer_of, end_by
from convsmith.words import for_terminal

app = typer.Typer(
    name="convsmith",
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # loading rich would take as long as all else together
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a folder of images to a served, verified model, with the published ConvNet recipes.",
)
_with_work_in_files = output_that_may_be_lost("stdout")  # what a command prints is not worth hours of its work

app.command()(_with_work_in_files(make.make))
app.command()(_with_work_in_files(train.train))
app.command()(evaluate.evaluate)
app.command()(compare.compare)
app.command()(explain.explain)
app.command()(embed.embed)
app.command()(_with_work_in_files(export.export))
app.command()(_with_work_in_files(report.report))
app.command()(predict.predict)
app.command()(_with_work_in_files(quantize.quantize))
app.command()(_with_work_in_files(calibrate.calibrate))
app.command()(_with_work_in_files(distil.distil))
app.command()(push.push)
app.command(cls=CommandInPanels)(serve.serve)
app.command()(benchmark.benchmark)
app.command()(plan.plan)
app.command()(_with_work_in_files(ablate.ablate))
app.command()(_with_work_in_files(lr_find.lr_find))
app.command()(_with_work_in_files(profile.profile))
app.add_typer(launch.app, name="launch")
app.command()(models.models)
app.add_typer(weights.app, name="weights")
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.command()(_with_work_in_files(demo.demo))
app.command()(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
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
    keep_freed_memory()
    end_by(_end_at_once)
    with output_that_may_be_lost("stderr"):
        escape_what_cannot_be_printed()
        try:
            with errors_name_the_output():
                words = sys.argv[1:] if arguments is None else arguments
                _wait_for_paths(words)
                _with_command_of(words)(args=arguments)
        except BrokenPipeError:
            sys.exit(1)  # in silence, as any program before `| head`
        except (ConvsmithError, ImportError, MemoryError, OSError, RuntimeError) as error:
            known = _known(error)
            if _debug or known is None:
                raise
            if isinstance(known, NotAnswering):
                _end_at_once(known)
            _tell(known)
            sys.exit(known.exit_code)


def _with_command_of(words: Sequence[str]) -> typer.Typer:
    """The application with the command that is called alone; reading the options of all of them takes 80 ms."""
    name, chosen = next(iter(words), ""), copy(app)
    chosen.registered_commands = [
        it for it in app.registered_commands if it.callback and get_command_name(it.callback.__name__) == name
    ]
    chosen.registered_groups = [it for it in app.registered_groups if it.name == name]
    return chosen if chosen.registered_commands or chosen.registered_groups else app


def _wait_for_paths(words: Sequence[str]) -> None:
    """Raise a NotAnswering for a word that is a path to a disk that is gone: reading the command line looks at it."""
    asked = ""

    def ask() -> None:
        nonlocal asked
        for word in words:
            asked = word.partition("=")[2] or word
            os.path.exists(asked)  # noqa: PTH110 - of any text

    answer_of(ask, lambda: asked)


def _tell(error: ConvsmithError) -> None:
    if not report_failure(error):
        print("\n".join(map(for_terminal, f"error: {error.on_command_line}".split("\n"))), file=sys.stderr)


def _end_at_once(error: NotAnswering) -> NoReturn:
    """End without waiting for the threads and processes of this one, which may themselves wait for a disk for ever."""
    _tell(error)
    with suppress(OSError):
        sys.stdout.flush()
    say_the_last_words("stderr")
    os._exit(error.exit_code)


def _known(error: ConvsmithError | ImportError | MemoryError | OSError | RuntimeError) -> ConvsmithError | None:
    """The error to show in place of a traceback; None where it can only be a mistake of ours."""
    if isinstance(error, ConvsmithError):
        return error
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if isinstance(error, OSError):
        return of_system(error)
    if str(error).startswith("Symlink loop"):  # of Path.resolve, before Python 3.13
        return of_system(OSError(errno.ELOOP, str(error)))
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):
        return ConvsmithError("out of memory", str(error), "Close other programs, or raise the limit (`ulimit -v`).")
    return None


if __name__ == "__main__":
    main()
