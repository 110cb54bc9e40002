"""A share of the images that are answered, kept in a folder to be labelled anew."""

from __future__ import annotations

import json
import logging
import random
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from convsmith.bundle.images.decode import format_and_mode
from convsmith.bundle.images.image_error import ImageError
from convsmith.errors import ConvsmithError
from convsmith.serve.asked import Asked
from convsmith.serve.request_record import current_id, time_text
from convsmith.serve.settings import Settings
from convsmith.storage import write_file

logger = logging.getLogger(__name__)

_MOST_WAITING = 64  # samples
_MOST_BYTES_WAITING = 32_000_000
_SECONDS = 10.0  # between two looks at how much there is, since other processes write too
_LAST_SECONDS = 2.0  # for what waits at the end


@dataclass(frozen=True)
class _Sample:
    content: bytes
    asked: Asked
    request: str
    time: str


class Sampler:
    """Keeps samples: the bytes as they were sent, and beside them a JSON file with the answer, which comes last.

    Both are written by a thread of their own. What there is no room for, in memory or in the folder, is lost.

    Args:
        folder: it is made where it is not there.
        share: of the answered images, above 0 and at most 1.
        most_files: images that the folder may hold.
        most_bytes: likewise, of all files.
        count: called with `written` or `lost` for each sample.

    Raises:
        ConvsmithError: the folder cannot be written.
    """

    def __init__(
        self, folder: Path, share: float, *, most_files: int, most_bytes: int, count: Callable[[str], None]
    ) -> None:
        self._folder, self._share, self._count = folder, share, count
        self._most_files, self._most_bytes = most_files, most_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_file(probe := folder / f".{secrets.token_hex(8)}", b"")
            probe.unlink()
        except OSError as error:
            why = error.strerror or str(error)
            raise ConvsmithError(f"samples cannot be written to {folder}", why, "Name another --sample-dir.") from error
        self._waiting = SimpleQueue[_Sample | None]()
        self._bytes_waiting, self._lock = 0, threading.Lock()
        self._files = self._bytes = 0
        self._looked, self._is_full = float("-inf"), False
        self._thread = threading.Thread(target=self._write_all, daemon=True, name="sample")
        self._thread.start()

    def watch(self, asked: Asked, file: BinaryIO | None) -> None:
        """Take an answered image, where chance has it; its bytes are read at once, as the file will be closed."""
        if asked.answer is None or asked.given_up or file is None or random.random() >= self._share:
            return
        if self._waiting.qsize() >= _MOST_WAITING or self._bytes_waiting >= _MOST_BYTES_WAITING:
            self._count("lost")
            return
        with suppress(OSError, ValueError):  # it is closed
            file.seek(0)
            content = file.read()
            with self._lock:
                self._bytes_waiting += len(content)
            self._waiting.put(_Sample(content, asked, current_id(), time_text(time.time())))

    def close(self) -> None:
        """Write what waits, as far as it can be written in a moment."""
        self._waiting.put(None)
        self._thread.join(_LAST_SECONDS)

    def _write_all(self) -> None:
        while sample := self._waiting.get():
            try:
                written = self._write(sample)
            except (OSError, ImageError, ValueError) as error:
                logger.warning("a sample cannot be written to %s: %s", self._folder, error)
                written = False
            with self._lock:
                self._bytes_waiting -= len(sample.content)
            self._count("written" if written else "lost")

    def _write(self, sample: _Sample) -> bool:
        asked, model = sample.asked, sample.asked.model
        assert asked.answer is not None
        # no part of the name is the client's
        stem = f"{sample.time[:19].replace(':', '').replace('-', '')}-{secrets.token_hex(6)}"
        image = self._folder / f"{stem}.{_ending(sample.content)}"
        facts: dict[str, Any] = {
            "image": image.name,
            "time": sample.time,
            "request_id": sample.request,
            "model": model.name,
            "version": model.version,
            "checksum": asked.bundle.manifest.checksum,
            "answer": asked.bundle.task.to_json(asked.answer),
        }
        text = json.dumps(facts).encode()
        if not self._has_room(len(sample.content) + len(text)):
            return False
        write_file(image, sample.content)
        try:
            write_file(image.with_suffix(".json"), text)
        except OSError:
            image.unlink(missing_ok=True)
            raise
        self._files += 1
        self._bytes += len(sample.content) + len(text)
        return True

    def _has_room(self, needed: int) -> bool:
        if time.monotonic() > self._looked + _SECONDS:
            self._looked = time.monotonic()
            sizes = {it.name: it.stat().st_size for it in self._folder.iterdir() if it.is_file()}
            self._files = sum(not name.endswith(".json") for name in sizes)
            self._bytes = sum(sizes.values())
        has_room = self._files < self._most_files and self._bytes + needed <= self._most_bytes
        if not has_room and not self._is_full:
            logger.warning("no more samples: %s holds %d images in %d bytes", self._folder, self._files, self._bytes)
        self._is_full = not has_room
        return has_room


def _ending(content: bytes) -> str:
    """How the name of such an image ends."""
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    kind, _ = format_and_mode(content)
    return {"JPEG": "jpg", "MPO": "jpg", "HEIF": "heic"}.get(kind, kind.lower())


def sampler_of(settings: Settings, count: Callable[[str], None]) -> Sampler | None:
    """The sampler that the settings ask for.

    Raises:
        ConvsmithError: they do not go together, or the folder cannot be written.
    """
    if (settings.sample is None) != (settings.sample_dir is None):
        raise ConvsmithError(
            "--sample and --sample-dir belong together",
            "one says which share of the images is kept, the other where",
            "Such as --sample 0.01 --sample-dir samples.",
        )
    if settings.sample is None or settings.sample_dir is None:
        return None
    if not 0 < settings.sample <= 1:
        raise ConvsmithError(
            f"--sample is {settings.sample:g}", "it is a share above 0, and at most 1", "Such as 0.01."
        )
    return Sampler(
        settings.sample_dir,
        settings.sample,
        most_files=settings.sample_max_files,
        most_bytes=settings.sample_max_bytes,
        count=count,
    )
