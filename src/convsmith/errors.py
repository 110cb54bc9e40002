"""The one error a user can cause, and sees without a traceback; and words for messages."""

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from convsmith.extras import extra_of

_LONGEST_WORD = 200
_ARGUMENTS = (
    "out shard max-drop images method coverage precision cost-wrong cost-unknown device runtime data minutes devices "
    "extend resume tracker finetune"
)
_PATH = r"(?<=finetune) ('[^']*'|[\w./~-]*\w)"
_OPTIONS = re.compile(rf"(?<!\S)--({_ARGUMENTS.replace(' ', '|')})\b(?!-)( (?=\d))?(?:{_PATH})?")


class ConvsmithError(Exception):
    """Something the user can put right.

    Args:
        what: what happened, naming the file, key or value.
        why: the reason, where it is not plain from `what`.
        fix: what to do about it.

    Examples:
        >>> try:
        ...     cs.load_recipe("resnet5-in1k")
        ... except cs.ConvsmithError as error:
        ...     print(error.what)
        `resnet5-in1k` is not a packaged recipe; did you mean `resnet50-in1k`?
    """

    exit_code = 2
    """Exit code of the command line."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    @property
    def on_command_line(self) -> str:
        """All of it, with options as the command line has them."""
        reason = f": {self.why}" if self.why else ""
        remedy = f"\n{self.fix}" if self.fix else ""
        return f"{self.what}{reason}{remedy}"

    def __str__(self) -> str:
        """All of it, with the arguments of Python's functions for options; quoted commands stay as they are."""
        parts = self.on_command_line.split("`")
        parts[::2] = [_OPTIONS.sub(_argument, part) for part in parts[::2]]
        return "`".join(parts)

    def _render_traceback_(self) -> list[str]:
        """The lines that a notebook shows: the user can put it right, so where it was found says nothing."""
        return [f"{type(self).__name__}: {self}"]


def _argument(option: re.Match[str]) -> str:
    """The argument of Python's functions that an option is."""
    name, path = {"finetune": "weights"}.get(option[1], option[1].replace("-", "_")), option[3] or ""
    is_literal = not path or path.isupper() or path.startswith("'")  # RUN stands for some run
    return f"{name}={path if is_literal else repr(path)}"


def of_system(error: OSError, what: str = "") -> ConvsmithError:
    """The error for what the system refuses: which file, why, and what helps against that.

    Args:
        error: of the system.
        what: what could not be done; without it, the file that the error names cannot be used.
    """
    name, why = error.filename, error.strerror or str(error) or type(error).__name__
    file = os.fsdecode(name) if isinstance(name, str | bytes) else ""
    if what:
        return ConvsmithError(what, f"{file}: {why}" if file and file not in what else why, remedy(error))
    return ConvsmithError(f"{file} cannot be used" if file else "the system refuses a request", why, remedy(error))


def remedy(error: OSError) -> str:
    """The remedy against an error of the system."""
    return _REMEDIES.get(error.errno or 0, "")


_REMEDIES = {
    errno.ENOSPC: "Make room.",
    errno.EDQUOT: "Make room, or let the quota be raised.",
    errno.EROFS: "Choose a place that can be written.",
    errno.EACCES: "Get the right to use it, or choose another place.",
    errno.EPERM: "Get the right to use it, or choose another place.",
    errno.EIO: "The disk fails, or the connection to it: the system's log (`dmesg`) says more.",
    errno.ESTALE: "The connection to its disk was lost: try again.",
    errno.EBUSY: "A disk is mounted there, or another program uses it: choose a folder below it.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EISDIR: "A folder stands where a file belongs: move it away.",
    errno.ENOTDIR: "A file stands where a folder belongs: move it away.",
    errno.EEXIST: "A file stands where a folder belongs: move it away.",
    errno.ELOOP: "Its symbolic links lead in a circle: mend them.",
    errno.EMFILE: "Raise the limit of open files, for instance by `ulimit -n 65536`.",
    errno.ENFILE: "Close other programs, or raise the system's limit of open files (fs.file-max).",
    errno.EAGAIN: "Close other programs, or raise the limit of processes (`ulimit -u`).",
    errno.ENOMEM: "Memory is full: close other programs, or choose smaller numbers of workers and images.",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`'; did you mean `x`?'` for the known word nearest to `word`, else an empty string.

    The nearest is the one that differs in capitals and dashes alone, if there is one.
    """
    if len(word) > _LONGEST_WORD:  # comparing takes the product of the lengths
        return ""
    words = {plain(it): it for it in known if len(it) <= _LONGEST_WORD}
    close = difflib.get_close_matches(plain(word), list(words), n=1, cutoff=0.6)
    return f"; did you mean `{words[close[0]]}`?" if close else ""


def plain(word: str) -> str:
    """A word without capitals and dashes, as which two are the same name."""
    return word.lower().replace("-", "_")


def counted(number: int, noun: str) -> str:
    """`number` of what `noun` names, with an s if it is not one: `1 image`, `2 images`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def printable(path: Path | bytes | str) -> str:
    r"""The path as text that any terminal, log and JSON file can hold: bytes that are not UTF-8 become `\udcXX`."""
    return os.fsdecode(path).encode("utf-8", "backslashreplace").decode("utf-8")


def quoted(names: Iterable[str], limit: int = 10) -> str:
    """The names in backquotes, the first `limit` of them, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(f"`{printable(name)}`" for name in names[:limit]) + more


PUBLISHED = False
"""Whether a package index has convsmith; until then it is installed from its own folder."""


def install_command(extra: str = "") -> str:
    """The command that installs convsmith with an extra, such as `pip install '.[serve]'`."""
    name = f"[{extra}]" if extra else ""
    return f"pip install 'convsmith{name}'" if PUBLISHED else f"pip install '.{name}'"


def upgrade_command(version: str = "") -> str:
    """The command that installs that version of convsmith or a later one; without a version, the newest."""
    wanted = f">={version}" if version else ""
    return f"pip install --upgrade 'convsmith{wanted}'" if PUBLISHED else "git pull && pip install ."


def require_extra(package: str, purpose: str, extra: str = "") -> ConvsmithError:
    """The error for an optional package that is missing.

    Args:
        package: as it is imported.
        purpose: what needs it.
        extra: what brings all that the purpose needs; left out, the package's own extra.
    """
    place = "" if PUBLISHED else ", in the folder of convsmith"
    known = extra or extra_of(package)  # none where convsmith was installed before it had that extra
    command = f"{install_command(known)}{place}" if known else f"pip install {package}"
    return ConvsmithError(
        f"{purpose} needs the package `{package}`", "it is not installed here", f"Install it with: {command}"
    )


def missing_package(error: ModuleNotFoundError) -> ConvsmithError | None:
    """The error for an import that failed because an extra is not installed; None if that is not the reason."""
    package = (error.name or "").partition(".")[0]
    return require_extra(package, "this part of convsmith") if extra_of(package) else None
