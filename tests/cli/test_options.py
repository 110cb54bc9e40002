"""Every option of every command: the numbers that it takes, and what it is where it is not given."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import typer

from convsmith.cli.main import app

LISTED = Path(__file__).parents[1] / "goldens/command_line.txt"


def lines(group: typer.Typer, name: str) -> Iterator[str]:
    """A line for each option with bounds or a default, of the commands of a group and of those in groups below it."""
    if group.info.no_args_is_help is True:
        yield f"{name}: shows its help where it stands alone"
    commands = [(it.name or it.callback.__name__, it.callback) for it in group.registered_commands if it.callback]
    if group.registered_callback and group.registered_callback.callback:
        commands.insert(0, ("", group.registered_callback.callback))
    for command, function in commands:
        hints = get_type_hints(function, include_extras=True)
        for parameter in inspect.signature(function).parameters.values():
            (info,) = hints[parameter.name].__metadata__
            bounds = [f"{word} {it:g}" for word, it in (("from", info.min), ("to", info.max)) if it is not None]
            marks = [it for it in ("hidden", "is_eager") if getattr(info, it, False)]
            usual = [] if parameter.default in (parameter.empty, None) else [f"= {parameter.default}"]
            if found := [*bounds, *marks, *usual]:
                yield " ".join([f"{name} {command}".strip(), f"{parameter.name}:", *found])
    for below in group.registered_groups:
        assert below.typer_instance is not None
        yield from lines(below.typer_instance, f"{name} {below.name}")


def test_all_options_are_as_they_are_listed() -> None:
    assert list(lines(app, "convsmith")) == LISTED.read_text("utf-8").splitlines()
