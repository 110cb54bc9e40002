"""The plain files in a tar archive, by offset: read with suspicion, and nothing is ever unpacked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, NamedTuple, NoReturn

from convsmith.errors import ConvsmithError, printable
from convsmith.waiting import answer_of

BLOCK = 512
_LONGEST_NAME = 1024
_LONGEST_NOTE = 2**16  # of what stands before a member and says more of it, such as a long name
_PADDING = 2**20  # bytes of nothing that may follow the end

_FILES, _FOLDER = (b"0", b"\0", b"7"), b"5"
_LONG_NAME, _LONG_LINK, _PAX, _PAX_OF_ALL = b"L", b"K", (b"x", b"X"), b"g"
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a file with holes",
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "ZIP",
}
_MAKE_AGAIN = "Make or copy the archive anew."
_AS_FILES = "Write plain files into it, such as by `tar --dereference --hard-dereference`."


class Member(NamedTuple):
    """A plain file in an archive: its name, as the archive spells it, and where its bytes are."""

    name: bytes
    offset: int
    size: int


@dataclass(frozen=True)
class Archive:
    """An open tar archive (ustar, GNU or pax), which may be anything.

    Attributes:
        file: it; whoever reads others of its bytes meanwhile does no harm.
        size: its bytes.
        name: what messages call it.
    """

    file: IO[bytes]
    size: int
    name: str

    def read(self, offset: int, count: int) -> bytes:
        """The bytes at an offset. ConvsmithError if there are fewer."""

        def read() -> bytes:
            self.file.seek(offset)
            return self.file.read(count)

        content = answer_of(read, self.name)
        if len(content) < count:
            self._fail("ends too early", f"it has {offset + len(content):,} bytes", _MAKE_AGAIN)
        return content

    def members(self) -> Iterator[Member]:
        """The plain files, in their order; folders are left out.

        Raises:
            ConvsmithError: it is damaged, cut off or compressed, or holds anything that is not a plain file of a plain
                name; it names the archive, and the member.
        """
        offset, long_name, notes = 0, b"", dict[str, bytes]()
        while header := self._header(offset):
            kind, size = header[156:157], self._number(header[124:136], offset)
            data = offset + BLOCK
            name = notes.get("path") or long_name or _short_name(header)
            if kind in (_LONG_NAME, _LONG_LINK, _PAX_OF_ALL, *_PAX):
                note = self._note(data, size, offset)
                if kind == _LONG_NAME:
                    long_name = note.rstrip(b"\0")
                elif kind in _PAX:
                    notes = self._records(note, offset)
                elif kind == _PAX_OF_ALL and {"path", "size"} & self._records(note, offset).keys():
                    self._fail(f"is damaged at byte {offset:,}", "it gives all members one name or size", _MAKE_AGAIN)
            else:
                size = self._refuse_what_is_not_plain(kind, name, size, notes)
                if size > self.size - data:
                    why = f"`{printable(name)}` has {size:,} bytes, and {max(0, self.size - data):,} are left"
                    self._fail("ends too early", why, _MAKE_AGAIN)
                if kind != _FOLDER and not (kind == b"\0" and name.endswith(b"/")):
                    yield Member(name, data, size)
                long_name, notes = b"", {}
            offset = data + -(-size // BLOCK) * BLOCK

    def _header(self, offset: int) -> bytes | None:
        """The block at an offset; None where the archive ends."""
        if offset + BLOCK > self.size:
            if not offset:
                self._refuse_as_no_archive(self.read(0, self.size))
            self._fail("ends too early", "the mark of its end lacks: it was cut off", _MAKE_AGAIN)
        header = self.read(offset, BLOCK)
        if not any(header):
            rest = self.size - offset
            if rest > _PADDING or any(self.read(offset, rest)):
                why = f"at byte {offset:,} it ends, and something follows"
                self._fail("is several archives in one", why, "Give each as a file of its own.")
            return None
        if not _is_sum_right(header):
            if not offset:
                self._refuse_as_no_archive(header)
            self._fail(f"is damaged at byte {offset:,}", "no member begins there", _MAKE_AGAIN)
        return header

    def _refuse_as_no_archive(self, head: bytes) -> NoReturn:
        kind = next((kind for start, kind in _COMPRESSED.items() if head.startswith(start)), None)
        if kind is not None:
            why = f"it is compressed ({kind}), and images are read from any place in it"
            plain = f" Shards are made plain by `{_UNPACKING[kind]}`." if kind in _UNPACKING else ""
            self._fail("is not a plain tar archive", why, f"Unpack the archive and give the folder.{plain}")
        self._fail("is not a tar archive" if head else "is empty", "", _MAKE_AGAIN)

    def _number(self, field: bytes, offset: int) -> int:
        """The number in a field: octal digits, or bytes behind a mark."""
        if field[0] == 0x80:
            return int.from_bytes(field[1:], "big")
        digits = field.strip(b"\0 ") or b"0"
        try:
            if not digits.isdigit():
                raise ValueError
            return int(digits, 8)
        except ValueError:
            self._fail(f"is damaged at byte {offset:,}", "the size there is not a number", _MAKE_AGAIN)

    def _note(self, data: int, size: int, offset: int) -> bytes:
        if size > _LONGEST_NOTE:
            self._fail(f"is damaged at byte {offset:,}", f"a name or note there has {size:,} bytes", _MAKE_AGAIN)
        return self.read(data, size)

    def _records(self, note: bytes, offset: int) -> dict[str, bytes]:
        """The records of a pax header, each `LENGTH KEY=VALUE`."""
        records, at = dict[str, bytes](), 0
        try:
            while at < len(note):
                digits = note[at : at + 8].partition(b" ")[0]
                length = int(digits)
                record = note[at : at + length]
                key, found, value = record[len(digits) + 1 : -1].partition(b"=")
                if not digits.isdigit() or not found or record[-1:] != b"\n" or len(record) != length:
                    raise ValueError
                records[key.decode("ascii", "replace")] = value
                at += len(record)
        except ValueError:
            self._fail(f"is damaged at byte {offset:,}", "the pax header there cannot be read", _MAKE_AGAIN)
        return records

    def _refuse_what_is_not_plain(self, kind: bytes, name: bytes, size: int, notes: Mapping[str, bytes]) -> int:
        """The size of the member, or a ConvsmithError for one that is not a plain file or a folder."""
        shown = f"`{printable(name[:_LONGEST_NAME])}`"
        if any(key.startswith("GNU.sparse") for key in notes):
            kind = b"S"
        if kind != _FOLDER and kind not in _FILES:
            what = _KINDS.get(kind, f"of the kind `{printable(kind)}`")
            self._fail(f"holds {shown}, which is {what}", "members are plain files", _AS_FILES)
        parts = name.split(b"/")
        if not name or len(name) > _LONGEST_NAME or b"\0" in name or not parts[0] or b".." in parts:
            why = "a name is a path below some folder, of at most 1,024 bytes"
            self._fail(f"holds a member with the name {shown[:100]}", why, "Write names without `..` into it.")
        if "size" in notes:
            size = int(notes["size"]) if notes["size"].isdigit() and len(notes["size"]) < 20 else -1
        if size < 0 or (kind == _FOLDER and size):
            self._fail("is damaged", f"the size of {shown} cannot be", _MAKE_AGAIN)
        return size

    def _fail(self, what: str, why: str, fix: str) -> NoReturn:
        raise ConvsmithError(f"{printable(self.name)} {what}", why, fix)


_UNPACKING = {"gzip": "gunzip", "bzip2": "bunzip2", "xz": "unxz", "zstd": "unzstd"}


def _is_sum_right(header: bytes) -> bool:
    """Whether the checksum in a header is that of its bytes, or of its bytes taken with a sign: both are in use."""
    claimed, others = header[148:156].strip(b"\0 "), header[:148] + b" " * 8 + header[156:]
    if not claimed.isdigit() or b"8" in claimed or b"9" in claimed:
        return False
    total = sum(others)
    return int(claimed, 8) == total or int(claimed, 8) == total - 256 * sum(byte > 127 for byte in others)


def _short_name(header: bytes) -> bytes:
    name, prefix = (field.partition(b"\0")[0] for field in (header[:100], header[345:500]))
    return prefix + b"/" + name if prefix and header[257:263] == b"ustar\0" else name
