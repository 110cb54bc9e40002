"""The images of a class are split as names one after another are, whoever reads them."""

from __future__ import annotations

from itertools import compress
from pathlib import Path

import pytest

from convsmith.data.folders.class_files import ClassFiles, Packed, read_classes
from convsmith.data.index import IndexBuilder
from convsmith.data.split import Share, hold_out, split_files
from tests.data.folders import write_files

SHARES = [Share(0.3), Share(0.01), *(Share(0.5, fold, 3) for fold in range(3))]


def texts(packed: Packed) -> list[bytes]:
    buffer, lengths = packed
    content, names, end = buffer.tobytes(), [], 0
    for length in lengths.tolist():
        names.append(content[end : end + length])
        end += length
    return names


def read(root: Path) -> ClassFiles:
    """A class of 20 images in three folders."""
    write_files(root, *(f"a/{'x/' * (i % 3)}z{'y' * i}.png" for i in range(20)))
    (files,) = read_classes(root, ["a"], (".png",), ranked=True)
    return files


@pytest.mark.parametrize("share", SHARES)
def test_a_class_is_split_as_its_names_are(tmp_path: Path, share: Share) -> None:
    files = read(tmp_path)
    learned, held_out = files.split(share, before=0)
    assert (texts(learned), texts(held_out)) == split_files(texts(files.packed), share)
    assert len(texts(learned) + texts(held_out)) == 20


@pytest.mark.parametrize("share", SHARES)
def test_a_class_behind_others_is_split_as_those_of_a_table_are(tmp_path: Path, share: Share) -> None:
    files, index = read(tmp_path), IndexBuilder(tmp_path)
    index.add(0, [b"%d.png" % i for i in range(7)])
    index.add(1, texts(files.packed))
    images = index.build()
    held_out = hold_out(images.names, images.targets, share)[7:]
    names = [list(compress(texts(files.packed), of_part)) for of_part in (~held_out, held_out)]
    assert [texts(part) for part in files.split(share, before=7)] == names
