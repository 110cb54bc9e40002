"""The images of a class are split as names one after another are, whoever reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.data.folders.class_files import Packed, read_classes
from convsmith.data.split import Share, split_files
from tests.data.folders import write_files


def texts(packed: Packed) -> list[bytes]:
    buffer, lengths = packed
    content, names, end = buffer.tobytes(), [], 0
    for length in lengths.tolist():
        names.append(content[end : end + length])
        end += length
    return names


@pytest.mark.parametrize("share", [Share(0.3), Share(0.01), *(Share(0.5, fold, 3) for fold in range(3))])
def test_a_class_is_split_as_its_names_are(tmp_path: Path, share: Share) -> None:
    (files,) = read_classes(
        write_files(tmp_path, *(f"a/{'x/' * (i % 3)}z{'y' * i}.png" for i in range(20))), ["a"], (".png",), ranked=True
    )
    learned, held_out = files.split(share, before=7)
    assert (texts(learned), texts(held_out)) == split_files(texts(files.packed), share, 7)
    assert len(texts(learned) + texts(held_out)) == 20
