"""What a power cut would leave, by the order in which a command wrote, flushed and renamed."""

from __future__ import annotations

from pathlib import PurePath


def at_risk(notes: str) -> list[str]:
    """What a power cut can lose: what was renamed before its content was on the disk, or where its folder never was.

    Args:
        notes: a line `NAME<tab>PATH<tab>MORE` for each call, in order; as `faults_notes` gives them.
    """
    lost = list[str]()
    unflushed: dict[str, PurePath] = {}  # by the number of a file, or the path of a folder
    renamed_in = set[PurePath]()
    for line in notes.splitlines():
        name, place, more = line.split("\t")
        path = PurePath(place)
        if name == "write":
            unflushed[more] = path
        elif name == "create":
            unflushed[str(path.parent)] = path.parent
        elif name == "flush":
            for flushed in (more, place):
                unflushed.pop(flushed, None)
            renamed_in.discard(path)
        elif name == "remove":
            unflushed = {key: it for key, it in unflushed.items() if not it.is_relative_to(path)}
            renamed_in = {it for it in renamed_in if not it.is_relative_to(path)}
        elif name == "rename":
            moved = {key: it for key, it in unflushed.items() if it.is_relative_to(more)}
            lost += [f"{it} was renamed to {path} unflushed" for it in moved.values()]
            unflushed = {key: it for key, it in unflushed.items() if key not in moved}
            renamed_in.add(path.parent)
    return lost + [f"{it} was not flushed after the last renaming" for it in renamed_in]
