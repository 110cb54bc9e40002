"""Pictures of a finished run: what is on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convsmith.analyze.evaluate import judge_bundle
from convsmith.analyze.report import pictures
from convsmith.analyze.report.at_end import ReportAtEnd
from convsmith.analyze.report.judge_facts import show_worst
from convsmith.analyze.report.pictures import draw_errors
from convsmith.deploy.format import open_bundle
from convsmith.training.run import Run
from tests.colours import write_colour_bundle
from tests.stripes import write_pixel_bundle

REPORTS_AT_END = True


def drawn(run: Path, data: Path) -> list[str]:
    """Draw what the run's bundle was most wrong about, and give these images' names."""
    worst = show_worst(judge_bundle(open_bundle(run / "bundle"), data), run)
    (run / "pictures").mkdir()
    draw_errors(Run(run), worst)
    return [image.name for image, _ in worst]


def test_the_images_with_the_highest_loss_come_first(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_colour_bundle(tmp_path / "bundle", labels=tuple(sorted(it.name for it in photos.iterdir())))
    told = list[str]()
    monkeypatch.setattr(pictures, "write_sheet", lambda tiles, out: told.extend(it.caption for it in tiles))
    drawn(tmp_path, photos)
    labels = [caption.split(": ") for caption in told]
    assert all(true != said for true, said in labels[:2])


def test_masks_are_drawn_over_their_images(scenes: Path, tmp_path: Path) -> None:
    write_pixel_bundle(tmp_path / "bundle")
    assert [Path(it).stem for it in drawn(tmp_path, scenes)] == ["2", "1", "0"]
    with Image.open(tmp_path / "pictures" / "errors.png") as sheet:
        assert len(np.unique(np.asarray(sheet.convert("RGB")).reshape(-1, 3), axis=0)) > 3


def test_what_goes_wrong_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ReportAtEnd(None).end(Run(tmp_path))
    assert "there is no report of" in caplog.text
