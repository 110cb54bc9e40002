"""What a power cut would leave, by the order in which a command wrote, flushed and renamed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath


def at_risk(notes: str, logs: Collection[str]) -> list[str]:
    """What a power cut can lose: what was written at its place, or renamed before it or after it nothing was flushed.

    Args:
        notes: a line `NAME<tab>PATH<tab>MORE` for each call, in order; as `faults_notes` gives them.
        logs: names of files, and of their folders, that are appended to.
    """
    lost = list[str]()
    unflushed: dict[str, PurePath] = {}  # by the number of a file, or the path of a folder
    renamed_in, written = set[PurePath](), set[PurePath]()
    for line in notes.splitlines():
        name, place, more = line.split("\t")
        path = PurePath(place)
        if name == "write":
            unflushed[more] = path
            written.add(path)
        elif name == "create":
            unflushed[str(path.parent)] = path.parent
        elif name == "flush":
            for flushed in (more, place):
                unflushed.pop(flushed, None)
            renamed_in.discard(path)
        elif name == "remove":
            unflushed = {key: it for key, it in unflushed.items() if not it.is_relative_to(path)}
            renamed_in = {it for it in renamed_in if not it.is_relative_to(path)}
            written = {it for it in written if not it.is_relative_to(path)}
        elif name == "rename":
            moved = {key: it for key, it in unflushed.items() if it.is_relative_to(more)}
            lost += [f"{it} was renamed to {path} unflushed" for it in moved.values()]
            unflushed = {key: it for key, it in unflushed.items() if key not in moved}
            written = {it for it in written if not it.is_relative_to(more)}
            renamed_in.add(path.parent)
    lost += [f"{it} was written at its place" for it in written if not set(logs) & set(it.parts)]
    return lost + [f"{it} was not flushed after the last renaming" for it in renamed_in]
