"""Keys that do nothing beside another key: certainly a mistake, so an error."""

from __future__ import annotations

from collections.abc import Mapping

from convsmith.spec import Section


def refuse_unused(section: Section, chooser: str, users: Mapping[str, str]) -> None:
    """Refuse keys that only one choice of another key uses, where it is not chosen.

    A key with its default passes: a resolved recipe writes all of them out.

    Args:
        section: the section that has the keys.
        chooser: the key that makes the choice.
        users: by key, the choice that uses it.

    Raises:
        ValueError: it names the first such key.
    """
    chosen = getattr(section, chooser)
    for key, user in users.items():
        value, default = getattr(section, key), type(section).model_fields[key].default
        if chosen != user and value != default:
            raise ValueError(
                f"{key} does nothing where {chooser} is {chosen}, only where it is {user}: "
                f"leave it out, or set it to {'null' if default is None else default}, its default"
            )
