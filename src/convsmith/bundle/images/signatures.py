"""Kinds of files that are not read, by their first bytes, so that an error can name them."""

from __future__ import annotations

_SIGNATURES = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"8BPS", "Photoshop"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf", "7-Zip"),
    (b"Rar!", "RAR"),
    (b"\0\0\1\0", "icon"),
    (b"SIMPLE  =", "FITS"),
    (b"\x93NUMPY", "NumPy"),
    (b"\x89HDF", "HDF5"),
    (b"PAR1", "Parquet"),
    (b"v/1\1", "OpenEXR"),
    (b"DDS ", "DDS"),
    (b"FUJIFILM", "raw camera"),
    (b"IIU\0", "raw camera"),
    (b"#?RADIANCE", "Radiance HDR"),
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
    (b"<!DOCTYPE", "HTML"),
    (b"<html", "HTML"),
    (b"version https://git-lfs", "Git LFS pointer"),
    *((b"P%d" % digit, "PNM") for digit in range(1, 8)),
)
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def kind_of(head: bytes) -> str | None:
    """The kind of a file by its first 160 bytes: `HEIF`, `AVIF`, another one in words, None where it is not known."""
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "HEIF" if brand in _HEIF and b"avif" not in head[:64] else "AVIF" if b"avi" in head[8:64] else "video"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head.startswith(b"RIFF") and head[8:12] != b"WEBP":
        return "RIFF"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)
