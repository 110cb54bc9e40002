"""The members of a sample in a tar shard that are text: its label, its weight and its group."""

from __future__ import annotations

import json

from convsmith.data.shards.tar_members import Archive, Member
from convsmith.errors import ConvsmithError, printable

SEVERAL = "|"
"""Begins the label of a sample that may have several, and stands between them."""

LABEL_KEYS = ("label", "class", "target", "cls", "class_name", "category")
TEXTS = {
    "cls": "the label of the sample: a whole number, or a name",
    "weight": "the weight of the sample: a number",
    "group": "the group of the sample, such as a patient",
    "json": "facts about the sample",
}
"""Members of a sample that are text, by what follows the first dot of their names."""

_LONGEST_LABEL, _LONGEST_JSON = 1024, 2**20


def weight_of(archive: Archive, member: Member | None) -> float:
    """The weight of a sample, NaN where it has none, or what is not a number."""
    try:
        return float(word_of(archive, member) or "nan")
    except ValueError:
        return float("nan")


def label_of(archive: Archive, members: dict[str, Member]) -> str | None:
    """The label of a sample: the text of its .cls, or what its .json says; None where it has none."""
    if (label := word_of(archive, members.get("cls"))) is not None:
        return label
    if (member := members.get("json")) is None:
        return None
    try:
        facts = json.loads(_text(archive, member, _LONGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise _of(archive, member, "is not JSON", str(error)) from error
    if not isinstance(facts, dict):
        return None
    value = next((facts[key] for key in LABEL_KEYS if key in facts), None)
    if value is None and isinstance(facts.get("labels"), list):
        return _several(archive, member, facts["labels"])
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) and len(value) <= _LONGEST_LABEL else None


def word_of(archive: Archive, member: Member | None) -> str | None:
    """The text of a member that is not empty; None where there is no such member."""
    if member is None:
        return None
    text = _text(archive, member, _LONGEST_LABEL).strip()
    if not text:
        ending = printable(member.name).rpartition(".")[2]
        raise _of(archive, member, "is empty", f"it is {TEXTS[ending.lower()]}")
    return text


def is_word(text: str) -> bool:
    """Whether `word_of` gives this text, where it is what a member holds."""
    is_plain = printable(text) == text and "\0" not in text and text == text.strip()
    return is_plain and 0 < len(text.encode()) <= _LONGEST_LABEL


def _several(archive: Archive, member: Member, labels: list[object]) -> str:
    names = sorted({str(label).strip() for label in labels})
    if any(isinstance(it, bool) or not isinstance(it, str | int) for it in labels) or any(
        not name or SEVERAL in name for name in names
    ):
        raise _of(archive, member, "has `labels` that are none", f"each is text without {SEVERAL}, or a whole number")
    return SEVERAL + SEVERAL.join(names)


def _text(archive: Archive, member: Member, most: int) -> str:
    if member.size > most:
        raise _of(archive, member, f"has {member.size:,} bytes", f"it may have {most:,}")
    try:
        text = archive.read(member.offset, member.size).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _of(archive, member, "is not UTF-8", "", "Save it as UTF-8.") from error
    if "\0" in text:
        raise _of(archive, member, "is not text", "", "Save it as UTF-8.")
    return text


def _of(archive: Archive, member: Member, what: str, why: str, fix: str = "Correct the member.") -> ConvsmithError:
    return ConvsmithError(f"`{printable(member.name)}` in {printable(archive.name)} {what}", why, fix)


def refused(archive: Archive, what: str, why: str, fix: str) -> ConvsmithError:
    """The error for an archive that holds what is not a sample."""
    return ConvsmithError(f"{printable(archive.name)} {what}", why, fix)
