"""Runs the command line in a process that has only what Windows has: `python -m tests.windows WORDS...`, with no torch.

What Windows does not have is taken away, and what it refuses is refused. What it has in its place stands here in a few
lines: the size of its memory, and locks of bytes.
"""

from __future__ import annotations

# the standard library's own ways for this system, before anything is taken away
import asyncio
import ctypes
import multiprocessing
import multiprocessing.util
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import types
from typing import Any

MEMORY = 8 << 30

GONE = {
    os: (
        "O_CLOEXEC O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC chown fchdir fchmod fchown fdatasync fork forkpty "
        "getegid geteuid getgid getloadavg getpgid getpgrp getuid initgroups killpg lchown mkfifo mknod nice openpty "
        "pathconf posix_fadvise posix_fallocate pread preadv pwrite pwritev readv register_at_fork "
        "sched_getaffinity sched_setaffinity sched_yield setpgid setpriority setsid setuid sync "
        "sysconf ttyname wait wait3 wait4 writev"
    ),
    signal: (
        "SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm "
        "pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigtimedwait sigwait sigwaitinfo"
    ),
    select: "epoll poll",
    socket: "MSG_DONTWAIT SO_REUSEPORT TCP_USER_TIMEOUT",
}
NO_MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty", "torch")


def become_windows() -> None:
    """Take away what Windows does not have."""
    import fcntl

    real_open, real_fsync = os.open, os.fsync

    def refuse_folders(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if os.path.isdir(path):  # noqa: PTH112 - or a descriptor
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, flags, *arguments, **options)

    def flush_what_can_be_written(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) or fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == 0:
            raise OSError(9, "Bad file descriptor")
        real_fsync(descriptor)

    def tell_memory(status: Any) -> None:
        size, *_ = status._obj
        assert size == 64
        status._obj[1] = MEMORY

    def lock_byte(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count, os.lseek(descriptor, 0, os.SEEK_CUR)) == (2, 1, 0)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    shutil._use_fd_functions = False  # type: ignore[attr-defined]
    os.open, os.fsync = refuse_folders, flush_what_can_be_written  # type: ignore[assignment]
    kernel = types.SimpleNamespace(GlobalMemoryStatusEx=tell_memory)
    ctypes.windll = types.SimpleNamespace(kernel32=kernel)  # type: ignore[attr-defined]
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=lock_byte, LK_NBLCK=2)  # type: ignore[assignment]
    for module, names in GONE.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for name in NO_MODULES:
        sys.modules[name] = None  # type: ignore[assignment]


KEPT = (asyncio, multiprocessing, subprocess, tempfile)  # which were imported for what they take from the system

if __name__ == "__main__":
    become_windows()
    from convsmith.cli.main import main

    for words in " ".join(sys.argv[1:]).split(" -- "):
        try:
            main(words.split())
        except SystemExit as ended:
            print(f"exit code {ended.code}: {words}", flush=True)
