"""Calls that not every system has: each is made here and nowhere else, with another way for Windows."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

FOLDERS_OPEN = hasattr(os, "O_DIRECTORY")
"""Whether folders can be opened, and so be held, and flushed to the disk; Windows keeps them by itself."""

KILL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)
"""Ends a process at once; on Windows every signal does."""

_PR_SET_PDEATHSIG = 1


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """The signals of these names that the system has."""
    return tuple(signal.Signals[name] for name in names if hasattr(signal, name))


def at_fork(**calls: Callable[[], object]) -> None:
    """Call `before`, `after_in_parent` and `after_in_child` at each fork, where processes can fork."""
    register: Callable[..., None] = getattr(os, "register_at_fork", lambda **_: None)
    register(**calls)


def end_with(parent: int) -> None:
    """Let this process be killed when the thread that started it ends, whatever it waits for; only Linux can do that.

    Args:
        parent: the number of that thread's process, in case that has ended already.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, KILL)
        if os.getppid() != parent:
            os._exit(0)


def kill_all_of(process: subprocess.Popen[Any]) -> None:
    """Kill a process, and where it leads a group of them all that it has started.

    Raises:
        ProcessLookupError: it has ended.
    """
    kill_group: Callable[[int, int], None] | None = getattr(os, "killpg", None)
    if kill_group is None:
        process.kill()
    else:
        kill_group(process.pid, KILL)


def limit_process(seconds: int, memory: int) -> None:
    """Let this process take at most so many seconds of its cores and bytes of memory, where the system can."""
    with suppress(ModuleNotFoundError):  # Windows lacks it
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def cores() -> int:
    """Cores that this process may use, by its affinity; where it has none, those of the machine."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that the machine has."""
    sysconf: Callable[[str], int] | None = getattr(os, "sysconf", None)
    if sysconf is not None:
        return sysconf("SC_PHYS_PAGES") * sysconf("SC_PAGE_SIZE")
    import ctypes

    status = (ctypes.c_uint64 * 8)(64)  # MEMORYSTATUSEX: its own size, then the memory that there is, ...
    getattr(ctypes, "windll").kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # noqa: B009 - not on Linux
    return status[1]


def resident_memory() -> int:
    """Bytes of memory that this process has, 0 where the system does not say so as Linux does."""
    sysconf: Callable[[str], int] | None = getattr(os, "sysconf", None)
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a hundred times as fast as a Path
            return int(file.read().split()[1]) * sysconf("SC_PAGE_SIZE") if sysconf else 0
    except OSError:
        return 0


def open_files() -> int | None:
    """How many files this process may have open; None: any number."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def will_need(descriptor: int, start: int, length: int) -> None:
    """Let the system read a part of an open file ahead, where it can."""
    if hasattr(os, "posix_fadvise"):  # not on macOS
        os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_WILLNEED)


def lock(descriptor: int, *, wait: bool = False, of_process: bool = False) -> bool:
    """Lock an open file or folder until it is closed, and whether that is so: False where nothing can be locked.

    Args:
        descriptor: of the file, opened for writing.
        wait: for as long as another one holds it.
        of_process: processes that are forked from this one do not hold it too; but any file that this one closes,
            opened by the same path, ends it.

    Raises:
        BlockingIOError: another one holds it.
        OSError: the file system has no locks.
    """
    try:
        import fcntl
    except ModuleNotFoundError:
        return _lock_first_byte(descriptor, wait)
    (fcntl.lockf if of_process else fcntl.flock)(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return True


def unlock(descriptor: int) -> None:
    """Let go of what `lock` holds `of_process`, where there are such locks, with the file still open."""
    with suppress(ModuleNotFoundError):
        import fcntl

        fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _lock_first_byte(descriptor: int, wait: bool) -> bool:
    try:
        import msvcrt
    except ModuleNotFoundError:
        return False
    locking, at_once = (getattr(msvcrt, name) for name in ("locking", "LK_NBLCK"))
    while True:
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            locking(descriptor, at_once, 1)
        except PermissionError as error:
            if not wait:
                raise BlockingIOError(errno.EAGAIN, "another process holds it") from error
            time.sleep(0.1)
        else:
            return True


def flush(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk."""
    if path.is_dir() and not FOLDERS_OPEN:
        return
    descriptor = os.open(path, os.O_RDONLY if FOLDERS_OPEN else os.O_RDWR)  # Windows flushes what can be written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
