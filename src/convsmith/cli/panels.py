"""A command with many options, which `--help` shows in groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class CommandInPanels(TyperCommand):
    """A command whose options are shown below the `rich_help_panel` that they name; those without one come first."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write all groups; called for `--help`."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            if row := parameter.get_help_record(ctx):
                panels.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append(row)
        for title, rows in panels.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
