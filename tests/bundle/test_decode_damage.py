"""Bytes from anywhere cost one ImageError, never more."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from convsmith.bundle.images import decode, read_bytes
from convsmith.bundle.images.decode import decode_image, read_image
from convsmith.bundle.images.image_error import ImageError, ImageTooLarge
from convsmith.bundle.images.open_image import check_header
from convsmith.bundle.images.png_texts import without_large_texts
from convsmith.errors import ConvsmithError


def seed_images() -> list[bytes]:
    image = Image.effect_noise((40, 30), 60).convert("RGB")
    exif = Image.Exif()
    exif[274] = 6
    exif[271] = "maker"
    seeds = []
    for kind, options in [
        ("JPEG", {"exif": exif}), ("JPEG", {"progressive": True}), ("MPO", {"save_all": True}), ("PNG", {"exif": exif}),
        ("WEBP", {"exif": exif}), ("WEBP", {"lossless": True}), ("BMP", {}), ("GIF", {}), ("TIFF", {"exif": exif}),
        ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg"}), ("AVIF", {"exif": exif}),
    ]:  # fmt: skip
        content = io.BytesIO()
        image.save(content, kind, **options)  # type: ignore[arg-type]
        seeds.append(content.getvalue())
    return seeds


SEEDS = seed_images()

# Pillow warns of what it repairs
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 8))):
        # headers lie at the start, where a change does most
        at = draw(st.one_of(st.integers(0, min(400, len(data) - 1)), st.integers(0, len(data) - 1)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=8))
        if not data:
            break
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=400, deadline=None)
@given(mutated())
def test_a_damaged_image_decodes_or_is_an_image_error(data: bytes) -> None:
    try:
        shape = decode_image(data).shape
    except ImageError:
        shape = (1, 1, 3)
    assert shape[2:] == (3,)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.sampled_from(SEEDS).flatmap(lambda s: st.binary().map(s[:16].__add__))))
@example(b"")
@example(b"GIF89a")
@example(b"BM")
def test_bytes_that_are_no_image_are_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        decode_image(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.binary(min_size=1, max_size=12))
def test_a_corrupt_exif_block_does_not_spoil_the_image(offset: int, garbage: bytes) -> None:
    jpeg = SEEDS[0]
    block = jpeg.index(b"Exif\0\0") + 6
    length = struct.unpack(">H", jpeg[block - 8 : block - 6])[0] - 8
    at = block + offset % length
    data = jpeg[:at] + garbage[: block + length - at] + jpeg[at + len(garbage[: block + length - at]) :]
    assert sorted(decode_image(data).shape[:2]) == [30, 40]


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_a_truncated_image_is_refused(seed: int) -> None:
    with pytest.raises(ImageError):
        decode_image(SEEDS[seed][: len(SEEDS[seed]) // 2])


def test_text_is_refused_with_the_kinds_that_are_read() -> None:
    with pytest.raises(ImageError, match=r"not an image of a known kind \(JPEG, PNG"):
        decode_image(b"hello", "notes.txt")


def test_formats_that_were_not_asked_for_are_refused() -> None:
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PPM")
    with pytest.raises(ImageError, match="known kind"):
        decode_image(content.getvalue())


@pytest.mark.parametrize("step", ["eight_bit_rgb", "decode_jpeg"])
def test_running_out_of_memory_is_an_image_error(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(decode, step, exhausted)
    with pytest.raises(ImageError, match="memory"):
        decode_image(SEEDS[0 if step == "decode_jpeg" else -1])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.png: no such file"):
        read_image(tmp_path / "gone.png")


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a directory"):
        read_image(tmp_path)


def test_a_name_with_a_null_byte_is_refused() -> None:
    with pytest.raises(ImageError):
        read_image(Path("a\0b.png"))


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "big.png"
    path.write_bytes(SEEDS[3])
    monkeypatch.setattr(read_bytes, "MAX_BYTES", len(SEEDS[3]) - 1)
    with pytest.raises(ImageTooLarge, match=r"big\.png"):
        read_image(path)


@pytest.mark.parametrize(("size", "pixels"), [((100_000, 100_000), 10**10), ((8193, 8192), 67117056)])
def test_the_message_says_how_many_pixels_there_are_and_how_to_allow_them(size: tuple[int, int], pixels: int) -> None:
    with pytest.raises(ImageTooLarge, match=f"{pixels} pixels; 67108864 are allowed") as caught:
        decode_image(png(*size))
    assert "data.max_pixels or CONVSMITH_MAX_PIXELS" in caught.value.fix


def test_the_environment_may_allow_more_pixels_or_fewer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = tmp_path / "big.png"
    Image.new("L", (100, 100)).save(path)
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "10000")
    assert read_image(path).shape == (100, 100, 3)
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "9999")
    with pytest.raises(ImageTooLarge, match="100 x 100 = 10000 pixels; 9999 are allowed"):
        check_header(path)


def test_a_limit_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_MAX_PIXELS", "64M")
    with pytest.raises(ConvsmithError, match=r"^CONVSMITH_MAX_PIXELS is `64M`"):
        decode_image(SEEDS[0])


def test_an_endless_device_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_bytes, "MAX_BYTES", 1 << 20)
    with pytest.raises(ImageTooLarge):
        read_image(Path("/dev/zero"))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + png_chunk(b"IEND", b"")


def with_chunk(picture: bytes, chunk: bytes, place: int = 33) -> bytes:
    """A PNG with one more chunk, behind its header or `place` bytes into the file."""
    return picture[:place] + chunk + picture[place:]


LARGE_TEXTS = {
    "profile": png_chunk(b"iCCP", b"big\0\0" + zlib.compress(bytes(3 << 20))),
    "packed": png_chunk(b"zTXt", b"Raw profile\0\0" + zlib.compress(bytes(3 << 20))),
    "international": png_chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(bytes(3 << 20))),
    "plain": png_chunk(b"tEXt", b"Comment\0" + b"a" * (3 << 20)),
    "many": b"".join(png_chunk(b"zTXt", b"%d\0\0" % i + zlib.compress(bytes(1 << 20))) for i in range(70)),
}


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("text", LARGE_TEXTS)
def test_large_texts_of_a_png_do_not_spoil_the_picture(text: str, behind: bool, tmp_path: Path) -> None:
    content = io.BytesIO()
    Image.new("RGB", (6, 4), "teal").save(content, "PNG")
    picture = content.getvalue()
    path = tmp_path / "labelled.png"
    path.write_bytes(with_chunk(picture, LARGE_TEXTS[text], len(picture) - 12 if behind else 33))
    assert check_header(path) == (6, 4)
    assert read_image(path)[2, 3].tolist() == [0, 128, 128]


def test_a_small_text_of_a_png_stays_to_tell_the_orientation() -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    content = io.BytesIO()
    Image.new("RGB", (6, 4)).save(content, "PNG")
    chunk = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)
    data = with_chunk(content.getvalue(), LARGE_TEXTS["profile"] + chunk)
    assert decode_image(data).shape == (6, 4, 3)


def tiff(width: int, height: int, compression: int, body: bytes, **tags: int) -> bytes:
    """A grey TIFF; `tags` are t278=... with the value -1 for the place of the body."""
    values = {256: width, 257: height, 258: 8, 259: compression, 262: 1, 277: 1}
    values |= {int(name[1:]): value for name, value in tags.items()}
    place = 8 + 2 + 12 * len(values) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, place if v == -1 else v) for tag, v in sorted(values.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, len(values)) + entries + struct.pack("<I", 0) + body


def zeros(gigabytes: int) -> bytes:
    """Gigabytes of zeros, deflated to a thousandth."""
    deflate = zlib.compressobj(9, wbits=-15)
    block = deflate.compress(bytes(1 << 26)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\x9c" + block * 16 * gigabytes


def endless_jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (1024, 1024), "teal").save(content, "JPEG", progressive=True)
    jpeg = content.getvalue()
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    return jpeg[:-2] + scan * 10_000 + b"\xff\xd9"


def gif_with_a_huge_frame() -> bytes:
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00"
    return b"GIF89a" + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0) + bytes(6) + frame + b";"


def webp_with_a_huge_header() -> bytes:
    webp = SEEDS[5]
    size = webp.index(b"VP8L") + 9  # two lengths of 14 bits, less one
    return webp[:size] + struct.pack("<I", 16382 | 16382 << 14) + webp[size + 4 :]


def bombs() -> dict[str, bytes]:
    three = zeros(3)
    return {
        "too-large-png-header": png(100_000, 100_000),
        "too-large-png-just": png(8193, 8192),
        "too-large-bmp-header": b"BM"
        + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0),
        "too-large-gif-frame": gif_with_a_huge_frame(),
        "too-large-webp": webp_with_a_huge_header(),
        "too-large-tiff-header": tiff(100_000, 100_000, 8, three, t273=-1, t278=100_000, t279=len(three)),
        "too-large-tiff-tile": tiff(16, 16, 8, three, t322=46_000, t323=46_000, t324=-1, t325=len(three)),
        "too-large-jpeg-scans": endless_jpeg(),
        "bad-png-text": png(8, 8, png_chunk(b"zTXt", b"k\0\0" + three)),
        "bad-png-itxt": png(8, 8, png_chunk(b"iTXt", b"k\0\1\0\0\0" + three)),
        "bad-png-profile": png(8, 8, png_chunk(b"iCCP", b"k\0\0" + three)),
        "any-tiff-strip-rows": tiff(16, 16, 8, three, t273=-1, t278=2**31 - 1, t279=len(three)),
        "any-tiff-strip-bytes": tiff(16, 16, 1, bytes(300), t273=-1, t278=16, t279=2**32 - 1),
        "bad-tiff-offset": tiff(16, 16, 1, bytes(300), t273=2**32 - 1, t278=16, t279=256),
    }


DECODE = """
import re, resource, sys
from pathlib import Path
from convsmith.bundle.images.decode import decode_image
from convsmith.bundle.images.image_error import ImageError
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
try:
    decode_image(Path(sys.argv[1]).read_bytes())
    answer = "decoded"
except ImageError as error:
    answer = type(error).__name__
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(answer, int(peak[1]) // 1024)
"""
BOMBS = bombs()


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_one_image_error_and_little_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])
    child = subprocess.run([sys.executable, "-c", DECODE, tmp_path / name], capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    answer, megabytes = child.stdout.split()
    expected = {"too": ["ImageTooLarge"], "bad": ["ImageError"], "any": ["ImageError", "decoded"]}
    assert answer in expected[name[:3]]
    assert int(megabytes) < 300


@pytest.mark.parametrize("name", [name for name in BOMBS if name.startswith("too") and name != "too-large-jpeg-scans"])
def test_what_is_too_large_is_seen_in_its_header(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])
    with pytest.raises(ImageTooLarge):
        check_header(tmp_path / name)


def test_after_many_texts_that_are_too_large_no_other_one_is_kept_or_unpacked() -> None:
    small, large = png_chunk(b"tEXt", b"a\0b"), png_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2 << 20)))
    assert without_large_texts(png(1, 1, small, large, small, *[large] * 15, small)) == png(1, 1, small, small)
