"""What a power cut would leave, by the order in which a command wrote, flushed and renamed."""

from __future__ import annotations

from pathlib import PurePath


def at_risk(notes: str) -> list[str]:
    """What a power cut can lose: what was renamed before its content was on the disk, or where its folder never was.

    Args:
        notes: a line `NAME<tab>PATH<tab>FORMER PATH` for each call, in order; as `faults_notes` gives them.
    """
    lost = []
    unflushed, renamed_in = set[PurePath](), set[PurePath]()
    for line in notes.splitlines():
        name, place, former = line.split("\t")
        path = PurePath(place)
        if name == "write":
            unflushed.add(path)
        elif name == "create":
            unflushed.add(path.parent)
        elif name == "flush":
            unflushed.discard(path)
            renamed_in.discard(path)
        elif name == "remove":
            unflushed.discard(path)
            renamed_in = {it for it in renamed_in if not it.is_relative_to(path)}
        elif name == "rename":
            lost += [f"{it} was renamed to {path} unflushed" for it in unflushed if it.is_relative_to(former)]
            unflushed = {it for it in unflushed if not it.is_relative_to(former)}
            renamed_in.add(path.parent)
    return lost + [f"{it} was not flushed after the last renaming" for it in renamed_in]
