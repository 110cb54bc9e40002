"""Pictures of a finished run: what is on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.report import pictures
from convsmith.analyze.report.at_end import ReportAtEnd
from convsmith.analyze.report.pictures import draw_pictures
from convsmith.training.run import Run
from tests.colours import write_colour_bundle
from tests.stripes import write_pixel_bundle


def test_the_images_with_the_highest_loss_come_first(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_colour_bundle(tmp_path / "bundle", labels=tuple(sorted(it.name for it in photos.iterdir())))
    told = list[str]()
    monkeypatch.setattr(pictures, "write_sheet", lambda tiles, out: told.extend(it.caption for it in tiles))
    draw_pictures(Run(tmp_path), photos)
    labels = [caption.split(": ") for caption in told]
    assert all(true != said for true, said in labels[:2])


def test_masks_are_drawn_over_their_images(scenes: Path, tmp_path: Path) -> None:
    write_pixel_bundle(tmp_path / "bundle")
    draw_pictures(Run(tmp_path), scenes)
    with Image.open(tmp_path / "pictures" / "errors.png") as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 3


def test_the_facts_returned_are_of_the_images_that_are_drawn(scenes: Path, tmp_path: Path) -> None:
    write_pixel_bundle(tmp_path / "bundle")
    sample = draw_pictures(Run(tmp_path), scenes)
    assert [Path(it.name).stem for it in sample.worst] == ["2", "1", "0"]
    assert sample.evaluation.images == len(sample.legend) == 3


def test_what_goes_wrong_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ReportAtEnd(tmp_path / "nowhere").end(Run(tmp_path))
    assert "there are no pictures of" in caplog.text
    assert "there is no report of" in caplog.text
