"""A file system in user space that shows a folder, and can stop answering: what a dead mount is.

It needs Linux and root, and speaks the protocol of /dev/fuse, as far as reading and writing files need it:
/usr/include/linux/fuse.h.
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

MOUNT_READ_ONLY = 1  # of mount(2)
ASYNC_READ = 1  # as libfuse has it, so that a process that waits for content can be killed
LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKDIR, UNLINK, RMDIR, RENAME = 1, 2, 3, 4, 5, 6, 9, 10, 11, 12
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, INIT = 14, 15, 16, 17, 18, 20, 26
OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, BATCH_FORGET, RENAME2 = 27, 28, 29, 30, 35, 36, 42, 45
SETS_SIZE = 8  # of the bits that say what SETATTR sets
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
def fuse_disk(shown: Path, place: Path, silent: str = "", *, writable: bool = False) -> Iterator[Disk]:
    """A disk with the files of a folder, of which the contents of those of one name are never given.

    Args:
        shown: the folder.
        place: where the disk is seen; it is made.
        silent: the name.
        writable: whether files can be written to it, which then lie in the folder.
    """
    place.mkdir()
    words = [sys.executable, "-m", "tests.fuse_disk", str(shown), str(place), silent, "writable" * writable]
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


def _mount(place: str, flags: int) -> int:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"convsmith-test", os.fsencode(place), b"fuse", flags, options):
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
        it = path.lstat()
        times = (int(it.st_atime), int(it.st_mtime), int(it.st_ctime))
        parts = (0, it.st_mtime_ns % 10**9, 0, it.st_mode, it.st_nlink, it.st_uid, it.st_gid, 0, 4096, 0)
        return struct.pack("<6Q10I", it.st_ino, it.st_size, it.st_blocks, *times, *parts)

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file, or a folder with all that is known below it."""
        old.replace(new)
        self.paths = [new / it.relative_to(old) if it.is_relative_to(old) else it for it in self.paths]


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
        it = os.statvfs(path)
        blocks = (it.f_blocks, it.f_bfree, it.f_bavail, it.f_files, it.f_ffree)
        return struct.pack("<5Q4I24x", *blocks, it.f_bsize, it.f_namemax, it.f_frsize, 0)
    if opcode in (RELEASE, RELEASEDIR, FSYNC, FSYNCDIR):
        return b""
    return _answer_to_change(nodes, opcode, path, body)


def _answer_to_change(nodes: _Nodes, opcode: int, path: Path, body: bytes) -> bytes:
    names = {CREATE: 16, MKDIR: 8, UNLINK: 0, RMDIR: 0, SYMLINK: 0, RENAME: 8, RENAME2: 16}  # where they begin
    first, second = (*body[names.get(opcode, 0) :].split(b"\0"), b"")[:2]
    named = path / os.fsdecode(first) if opcode in names else path
    if opcode == CREATE:
        os.close(os.open(named, os.O_CREAT | os.O_WRONLY, 0o644))
        return nodes.entry(named) + struct.pack("<QII", 0, 0, 0)
    if opcode == MKDIR:
        named.mkdir()
        return nodes.entry(named)
    if opcode == SYMLINK:
        named.symlink_to(os.fsdecode(second))
        return nodes.entry(named)
    if opcode == READLINK:
        return os.fsencode(path.readlink())
    if opcode == WRITE:
        _, offset, size = struct.unpack_from("<QQI", body)
        with path.open("r+b") as file:
            file.seek(offset)
            file.write(body[40 : 40 + size])
        return struct.pack("<II", size, 0)
    if opcode == SETATTR:
        sets, _, _, size = struct.unpack_from("<IIQQ", body)
        if sets & SETS_SIZE:
            os.truncate(path, size)
        return struct.pack("<QII", 0, 0, 0) + nodes.attributes(path)
    if opcode in (UNLINK, RMDIR):
        named.unlink() if opcode == UNLINK else named.rmdir()
        return b""
    if opcode in (RENAME, RENAME2) and not (opcode == RENAME2 and struct.unpack_from("<QI", body)[1]):
        nodes.rename(named, nodes.paths[struct.unpack_from("<Q", body)[0]] / os.fsdecode(second))
        return b""
    raise OSError(errno.ENOSYS, "not needed")  # FLUSH, above all: a process that ends would wait for its answer


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
    shown, place, silent, writable = sys.argv[1:]
    device = _mount(place, 0 if writable else MOUNT_READ_ONLY)
    print("mounted", flush=True)
    _serve(device, Path(shown), silent)
