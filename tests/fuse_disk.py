"""A file system in user space that shows a folder, and can stop answering: what a dead mount is.

It needs Linux and root, and speaks the protocol of /dev/fuse, as far as reading needs it: /usr/include/linux/fuse.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

READ_ONLY = 1  # of mount(2)
ASYNC_READ = 1  # as libfuse has it, so that a process that waits for content can be killed
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 42
UNANSWERED = (FORGET, INTERRUPT, BATCH_FORGET)


@dataclass(frozen=True)
class Disk:
    """Where it is, and its process."""

    path: Path
    process: subprocess.Popen[str]

    def die(self) -> None:
        """Answer nothing any more."""
        self.process.send_signal(signal.SIGSTOP)

    def revive(self) -> None:
        """Answer what was asked meanwhile, and all else."""
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def fuse_disk(shown: Path, place: Path, silent: str = "") -> Iterator[Disk]:
    """A disk with the files of a folder, of which the contents of those of one name are never given.

    Args:
        shown: the folder.
        place: where the disk is seen; it is made.
        silent: the name.
    """
    place.mkdir()
    words = [sys.executable, "-m", "tests.fuse_disk", str(shown), str(place), silent]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stderr
            if process.stdout.readline() != "mounted\n":
                pytest.skip(f"no file system in user space here: {process.stderr.read()}")
            yield Disk(place, process)
        finally:
            process.kill()  # which gives an error to all that wait for it
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def _mount(place: str) -> int:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"convsmith-test", os.fsencode(place), b"fuse", READ_ONLY, options):
        raise OSError(ctypes.get_errno(), "cannot mount")
    return device


class _Nodes:
    """Files by the numbers that the kernel knows them by."""

    def __init__(self, root: Path) -> None:
        self.paths = [root, root]  # the root's number is 1

    def entry(self, path: Path) -> bytes:
        attributes = self.attributes(path)
        if path not in self.paths:
            self.paths.append(path)
        return struct.pack("<QQQQII", self.paths.index(path, 1), 0, 0, 0, 0, 0) + attributes

    def attributes(self, path: Path) -> bytes:
        it = path.stat()
        times = (int(it.st_atime), int(it.st_mtime), int(it.st_ctime))
        parts = (0, it.st_mtime_ns % 10**9, 0, it.st_mode, it.st_nlink, it.st_uid, it.st_gid, 0, 4096, 0)
        return struct.pack("<6Q10I", it.st_ino, it.st_size, it.st_blocks, *times, *parts)


def _answer(nodes: _Nodes, opcode: int, path: Path, body: bytes) -> bytes:
    if opcode == INIT:
        return struct.pack("<4I2H2I2H8I", 7, 31, 1 << 17, ASYNC_READ, 12, 9, 1 << 17, 1, 0, 0, *[0] * 8)
    if opcode == LOOKUP:
        return nodes.entry(path / os.fsdecode(body.rstrip(b"\0")))
    if opcode == GETATTR:
        return struct.pack("<QII", 0, 0, 0) + nodes.attributes(path)
    if opcode in (OPEN, OPENDIR):
        return struct.pack("<QII", 0, 0, 0)
    if opcode == READ:
        _, offset, size = struct.unpack_from("<QQI", body)
        return path.read_bytes()[offset : offset + size]
    if opcode == READDIR:
        _, offset, size = struct.unpack_from("<QQI", body)
        listed = b""
        for number, name in enumerate(sorted(it.name for it in path.iterdir())[offset:], offset + 1):
            encoded = os.fsencode(name)
            entry = struct.pack("<QQII", number, number, len(encoded), 0) + encoded
            entry += bytes(-len(entry) % 8)
            if len(listed) + len(entry) > size:
                break
            listed += entry
        return listed
    if opcode == STATFS:
        return bytes(80)
    if opcode in (RELEASE, RELEASEDIR, FLUSH):
        return b""
    raise OSError(errno.ENOSYS, "not needed to read")


def _serve(device: int, root: Path, silent: str) -> None:
    nodes = _Nodes(root)
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        path = nodes.paths[node] if node else root
        if opcode in UNANSWERED or (opcode == READ and path.name == silent):
            continue
        try:
            code, answer = 0, _answer(nodes, opcode, path, request[40:])
        except OSError as error:
            code, answer = -(error.errno or errno.EIO), b""
        os.write(device, struct.pack("<IiQ", 16 + len(answer), code, unique) + answer)


if __name__ == "__main__":
    shown, place, silent = sys.argv[1:]
    device = _mount(place)
    print("mounted", flush=True)
    _serve(device, Path(shown), silent)
