"""The command line's root: an option that does not exist but is a key says how the key is written."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

from convsmith.errors import ConvsmithError


class Group(TyperGroup):
    """All commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what was given, for `invoke`."""
        ctx.obj = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command.

        Raises:
            ConvsmithError: an option is missing its meaning: it is a key.
        """
        try:
            return super().invoke(ctx)
        except Exception as error:  # click's exceptions belong to typer, which names none of them
            option = str(getattr(error, "option_name", ""))
            key = _key_for(option, getattr(error, "ctx", None)) if hasattr(error, "possibilities") else None
            if key is None:
                raise
            raise ConvsmithError(
                f"there is no option `{option}`",
                fix=f"Keys are written without dashes: {key}={_value_after(option, ctx.obj)}",
            ) from error


def _key_for(option: str, ctx: Any) -> str | None:
    """The key that an option means where a command takes keys; None where it takes none, or none is near."""
    word = option.lstrip("-").replace("-", "_")
    arguments = {parameter.name for parameter in ctx.command.params} if ctx else set()
    if "overrides" in arguments:
        from convsmith.recipe.problems import nearest_keys

        return next(iter(nearest_keys(word)), None)
    if "changes" in arguments:
        from convsmith.spec import WholeImage

        return word if word in WholeImage.model_fields else None
    return None


def _value_after(option: str, given: list[str]) -> str:
    """The value that was meant for the option; `true` for one that stands alone."""
    for word, following in zip(given, [*given[1:], "-"], strict=True):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option:
            return "true" if following.startswith("-") or "=" in following else following
    return "..."


class Listing(TyperGroup):
    """Commands about one kind of thing; without the name of one of them, the words are for `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` in front of words that begin with no command and no question for help."""
        if not args or args[0] not in {*self.commands, *self.get_help_option_names(ctx)}:
            args = ["list", *args]
        return super().parse_args(ctx, args)
