"""The page's preprocessing beside Pillow's: equal to the last bit for every kind of PNG."""

from __future__ import annotations

import io
import random
import struct
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.preprocess import read_and_preprocess
from convsmith.spec import Preprocess
from tests.deploy.web.in_node import run_in_node

IMPORTS = {"read_png.js": "readPng", "colours.js": "fittedPng", "preprocess.js": "preprocess"}
BODY = """
const { createHash } = require("crypto");
const said = [];
for (const [file, spec] of given) {
  try {
    const bands = { channels: spec.mean.length, range: spec.range };
    const image = fittedPng(await readPng(new Uint8Array(fs.readFileSync(file))), bands);
    said.push(createHash("sha256").update(preprocess(image, spec)).digest("hex"));
  } catch (error) {
    said.push("error");
  }
}
return said;
"""
Case = tuple[bytes, Preprocess]


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def raw_png(size: tuple[int, int], depth: int, colours: int, *, interlaced: bool = False, **chunks: bytes) -> bytes:
    """A PNG of noise of any kind, with filters of all kinds."""
    width, height = size
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for left, top, across, down in passes if interlaced else [(0, 0, 1, 1)]:
        columns = len(range(left, width, across))
        for y in range(top, height, down) if columns else ():
            rows += bytes([(y + left) % 5]) + noise((columns * channels * depth + 7) // 8, seed=y).tobytes()
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, int(interlaced))
    parts = {"IHDR": head, **chunks, "IDAT": zlib.compress(rows), "IEND": b""}
    made = b"\x89PNG\r\n\x1a\n"
    for kind, body in parts.items():
        made += (
            struct.pack(">I", len(body)) + kind.encode() + body + struct.pack(">I", zlib.crc32(kind.encode() + body))
        )
    return made


def wrong(folder: Path, cases: dict[str, Case]) -> list[str]:
    """The cases in which the page and Python do not see the same, or do not refuse the same."""
    given: list[Any] = []
    for content, spec in cases.values():
        (folder / f"{len(given)}.png").write_bytes(content)
        given.append((f"{len(given)}.png", spec.model_dump(mode="json")))
    said = run_in_node(folder, IMPORTS, BODY, given)
    return [name for name, one in zip(cases, said, strict=True) if one != expected(name, *cases[name])]


def expected(name: str, content: bytes, spec: Preprocess) -> str:
    try:
        return sha256(read_and_preprocess(content, spec, name).tobytes()).hexdigest()
    except ImageError:
        return "error"


def test_each_rule_gives_the_same_square_whatever_the_size(tmp_path: Path) -> None:
    chance, cases = random.Random(0), {}
    for method in ("resize_then_crop", "crop_then_resize", "warp"):
        for interpolation in ("nearest", "bilinear", "bicubic"):
            for _ in range(40):
                width, height, resize = chance.randint(1, 120), chance.randint(1, 120), chance.randint(1, 70)
                most = {"warp": resize, "crop_then_resize": resize}.get(method, 80)
                crop = resize if method == "warp" else chance.randint(1, most)
                rule: dict[str, Any] = {"method": method, "interpolation": interpolation}
                spec = Preprocess(resize=resize, crop=crop, **rule)
                image = png(Image.fromarray(noise(height, width, 3)), compress_level=1)
                cases[f"{method} {interpolation} {width}x{height} {resize}/{crop}"] = (image, spec)
    assert wrong(tmp_path, cases) == []


def test_a_large_photo_gives_the_same_square(tmp_path: Path) -> None:
    photo = Image.fromarray(noise(90, 120, 3)).resize((800, 600))
    spec = Preprocess(resize=256, crop=224, interpolation="bicubic")
    assert wrong(tmp_path, {"photo": (png(photo, compress_level=1), spec)}) == []


def kinds() -> dict[str, bytes]:
    """PNG files of each kind, by name."""
    rgba = Image.fromarray(noise(9, 13, 4))
    grey = Image.fromarray(noise(9, 13))
    palette = noise(256, 3).tobytes()
    found = {
        f"{colours} of {depth} bits{', interlaced' if interlaced else ''}": raw_png(
            (13, 9),
            depth,
            colours,
            interlaced=interlaced,
            **({"PLTE": palette[: 3 * 2**depth]} if colours == 3 else {}),
        )
        for colours, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items()
        for depth in depths
        for interlaced in (False, True)
    }
    found |= {f"interlaced {w}x{h}": raw_png((w, h), 8, 2, interlaced=True) for w in range(1, 6) for h in (2, 3, 5)}
    found["palette with transparency"] = raw_png((13, 9), 8, 3, PLTE=palette, tRNS=noise(200, seed=3).tobytes())
    found["palette with one transparent colour"] = png(grey.convert("P"), transparency=7)
    found["grey with a transparent one"] = png(grey, transparency=int(np.asarray(grey)[2, 3]))
    found["colours with a transparent one"] = png(
        rgba.convert("RGB"), transparency=rgba.convert("RGB").getpixel((2, 3))
    )
    found["short palette"] = raw_png((13, 9), 8, 3, PLTE=palette[:30])
    found["equal colours"] = png(grey.convert("RGB"))
    found["grey of 16 bits with a transparent one"] = png(Image.fromarray(noise(9, 13).astype(np.uint16) * 257))
    found["dark grey of 16 bits"] = png(Image.fromarray(noise(9, 13).astype(np.uint16)))
    found["black of 16 bits"] = png(Image.fromarray(np.zeros((9, 13), np.uint16)))
    found["a profile"] = png(rgba.convert("RGB"), icc_profile=b"not one")
    found["gamma"] = raw_png((13, 9), 8, 2, gAMA=struct.pack(">I", 100_000))
    for orientation in range(1, 10):
        exif = Image.Exif()
        exif[0x112] = orientation
        found[f"orientation {orientation}"] = png(rgba, exif=exif)
    info = PngInfo()
    info.add_text("note", "x" * 99, zip=True)
    found["text"] = png(grey, pnginfo=info)
    whole = png(rgba)
    found["cut off"] = whole[: len(whole) // 2]
    found["bytes after the end"] = whole + b"more"
    return found


def test_every_kind_of_file_gives_the_same_bytes_or_is_refused(tmp_path: Path) -> None:
    files = kinds()
    cases: dict[str, Case] = {}
    for channels in (1, 2, 3, 4):
        for values in (None, (0, 4095), (10, 200)):
            spec = Preprocess(resize=8, crop=8, mean=(0.5,) * channels, std=(0.5,) * channels, range=values)
            cases |= {f"{name}, {channels} of {values}": (content, spec) for name, content in files.items()}
    assert wrong(tmp_path, cases) == []
