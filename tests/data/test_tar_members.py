"""Tar archives that may be anything: plain files by offset, or one error that names the archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.data.shards.tar_members import Archive, Member
from convsmith.errors import ConvsmithError
from tests.data.shards import add, tar

FILES = {"a.png": b"one", "folder/b.cls": b"", "c.json": b"x" * 1000}
PLAIN = tar(FILES)


def members(content: bytes) -> list[Member]:
    return list(Archive(io.BytesIO(content), len(content), "s.tar").members())


def contents(content: bytes) -> dict[str, bytes]:
    return {it.name.decode(): content[it.offset : it.offset + it.size] for it in members(content)}


def refusal(content: bytes) -> str:
    with pytest.raises(ConvsmithError) as caught:
        members(content)
    return str(caught.value)


def written(fill: Callable[[tarfile.TarFile], object], form: int = tarfile.GNU_FORMAT) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=form) as archive:
        fill(archive)
    return content.getvalue()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_plain_files_are_found_in_every_format(form: int) -> None:
    files = FILES | {f"{'deep/' * 30}d.png": b"d"} | ({"straße.png": b"e"} if form != tarfile.USTAR_FORMAT else {})
    assert contents(tar(files, form)) == files


def test_names_longer_than_a_header_are_found() -> None:
    files = {"x" * 300 + ".png": b"long", "short.png": b"short"}
    assert contents(tar(files, tarfile.GNU_FORMAT)) == contents(tar(files, tarfile.PAX_FORMAT)) == files


def test_folders_are_left_out() -> None:

    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "f", kind=tarfile.DIRTYPE)
        add(archive, "f/a.png", b"a")

    content = written(fill)
    assert contents(content) == {"f/a.png": b"a"}


def test_a_checksum_of_bytes_with_a_sign_is_taken() -> None:
    header = bytearray(tar({"\xe4.png": b"x"}, tarfile.GNU_FORMAT))
    signed = sum(byte - 256 * (byte > 127) for byte in header[:148] + header[156:512]) + 8 * 32
    header[148:156] = b"%06o\0 " % signed
    assert len(members(bytes(header))) == 1


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.SYMTYPE, "holds `a.png`, which is a symbolic link"),
        (tarfile.LNKTYPE, "holds `a.png`, which is a hard link"),
        (tarfile.CHRTYPE, "holds `a.png`, which is a device"),
        (tarfile.BLKTYPE, "holds `a.png`, which is a device"),
        (tarfile.FIFOTYPE, "holds `a.png`, which is a pipe"),
        (tarfile.GNUTYPE_SPARSE, "holds `a.png`, which is a file with holes"),
        (b"M", "holds `a.png`, which is of the kind `M`"),
        (b"\xff", "which is of the kind"),
    ],
)
def test_what_is_not_a_plain_file_is_refused_by_its_name(kind: bytes, message: str) -> None:
    assert message in refusal(written(lambda archive: add(archive, "a.png", kind=kind, link="/etc/passwd")))


@pytest.mark.parametrize("name", ["../a.png", "b/../../a.png", "/etc/a.png", "..", "a" * 1025 + ".png"])
def test_names_that_lead_out_or_have_no_end_are_refused(name: str) -> None:
    assert "holds a member with the name" in refusal(tar({name: b""}, tarfile.GNU_FORMAT))


def test_sparse_files_of_pax_are_refused() -> None:
    member = tarfile.TarInfo("a.png")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "9999999999999"}
    assert "a file with holes" in refusal(written(lambda archive: archive.addfile(member), tarfile.PAX_FORMAT))


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"size": "-1"}, "the size of `a.png` cannot be"),
        ({"size": "9" * 30}, "the size of `a.png` cannot be"),
        ({"size": "99999999999"}, "s.tar ends too early: `a.png` has 99,999,999,999 bytes"),
        ({"path": "a\0b.png"}, "holds a member with the name"),
        ({"path": ""}, None),
        ({"comment": "x" * 70_000}, "a name or note there has 70,"),
    ],
)
def test_pax_headers_are_not_trusted(headers: dict[str, str], message: str | None) -> None:
    member = tarfile.TarInfo("a.png")
    member.pax_headers = headers
    content = written(lambda archive: archive.addfile(member), tarfile.PAX_FORMAT)
    if message is None:
        assert contents(content) == {"a.png": b""}
    else:
        assert message in refusal(content)


@pytest.mark.parametrize("note", [b"", b"x", b"5 a=\n", b"99999999 a=b\n", b"8 abcdef", b"0 a=b\n", b"-5 a=b\n"])
def test_records_of_pax_that_are_none_are_refused(note: bytes) -> None:
    def fill(archive: tarfile.TarFile) -> None:
        add(archive, "p", note, tarfile.XHDTYPE)
        add(archive, "a.png")

    content = written(fill)
    if note in (b"", b"5 a=\n"):
        assert contents(content) == {"a.png": b""}
    else:
        assert "the pax header there cannot be read" in refusal(content)


def test_one_name_or_size_for_all_members_is_refused() -> None:
    content = written(lambda archive: add(archive, "g", b"15 path=a.png\n\n"[:14] + b"\n", tarfile.XGLTYPE))
    assert "is damaged at byte 0" in refusal(content)


@pytest.mark.parametrize("field", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"77777777777\0", b"abc\0", b"9" * 12])
def test_hostile_sizes_are_refused(field: bytes) -> None:
    content = bytearray(PLAIN)
    content[124:136] = field
    content[148:156] = b"%06o\0 " % (sum(content[:148]) + sum(content[156:512]) + 8 * 32)
    assert any(words in refusal(bytes(content)) for words in ("ends too early", "the size there is not a number"))


@given(st.integers(0, len(PLAIN) - 1))
def test_an_archive_that_is_cut_off_is_refused_wherever_that_is(length: int) -> None:
    end = len(PLAIN.rstrip(b"\0")) + 1024
    if length < end - 512:
        assert "s.tar" in refusal(PLAIN[:length])


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 4 * 512), st.integers(0, 255)), min_size=1, max_size=8), st.booleans())
def test_damaged_archives_raise_nothing_else(changes: list[tuple[int, int]], mend: bool) -> None:
    content = bytearray(PLAIN)
    for place, value in changes:
        content[place] = value
    if mend:  # so that what is behind the checksum is reached
        content[148:156] = b"%06o\0 " % (sum(content[:148]) + sum(content[156:512]) + 8 * 32)
    with suppress(ConvsmithError):
        found = members(bytes(content))
        assert all(0 <= it.offset <= it.offset + it.size <= len(content) for it in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(PLAIN), r"s.tar is not a plain tar archive: it is compressed (gzip)"),
        (bz2.compress(PLAIN), "compressed (bzip2)"),
        (lzma.compress(PLAIN), "compressed (xz)"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 600, "compressed (zstd)"),
        (b"PK\x03\x04" + b"\0" * 600, "compressed (ZIP)"),
        (b"", "s.tar is empty"),
        (b"text", "s.tar is not a tar archive"),
        (b"text" * 500, "s.tar is not a tar archive"),
        (PLAIN + PLAIN, "s.tar is several archives in one"),
        (PLAIN + b"\0" * 2**21, "s.tar is several archives in one"),
    ],
)
def test_what_is_not_one_plain_archive_is_refused_in_words(content: bytes, message: str) -> None:
    assert message in refusal(content)


def test_the_archives_of_gnu_tar_are_read(tmp_path: Path) -> None:
    import subprocess

    for name, content in FILES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    subprocess.run(["tar", "-C", tmp_path / "in", "-cf", tmp_path / "s.tar", "."], check=True)
    assert contents((tmp_path / "s.tar").read_bytes()) == {f"./{name}": content for name, content in FILES.items()}
