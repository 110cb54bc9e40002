"""Images that are named one by one, from disk, from standard input and from shards."""

from __future__ import annotations

from pathlib import Path

from convsmith.data.folders.image_list import ImageList
from convsmith.data.folders.image_paths import Place

PLACES: list[Place] = [("a.png", Path("a.png")), ("-", b"typed"), ("b.png", Path("b.png"))]


def test_what_is_typed_is_one_image_in_its_place() -> None:
    images = ImageList(PLACES)
    assert len(images) == 3
    assert [name for name, _ in images.since(0)] == ["a.png", "-", "b.png"]
    [typed] = [image for name, image in images.since(0) if name == "-"]
    assert callable(typed)
    assert typed() == b"typed"


def test_images_go_on_after_those_that_are_done() -> None:
    images = ImageList(PLACES)
    assert [[name for name, _ in images.since(first)] for first in (1, 2, 3)] == [["-", "b.png"], ["b.png"], []]
