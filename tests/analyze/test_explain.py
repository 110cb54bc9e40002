from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

import convsmith as cs
from convsmith.analyze.explainer import log_probability, open_explainer
from convsmith.analyze.heat.picture import picture
from convsmith.bundle.heat import colours, overlay
from convsmith.cli.main import main
from convsmith.errors import ConvsmithError
from convsmith.spec import WholeImage, Window
from tests.colours import SIDE
from tests.exports import write_run
from tests.stripes import write_pixel_bundle


def half(left: tuple[int, int, int], right: tuple[int, int, int], side: int = SIDE) -> NDArray[np.uint8]:
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[:, : side // 2], pixels[:, side // 2 :] = left, right
    return pixels


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    write_run(path)
    return path


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_a_bundle_shows_the_half_that_has_the_colour(colour_bundle: Path, method: str) -> None:
    (found,) = cs.explain(colour_bundle, half((200, 0, 0), (0, 0, 60)), method=method)
    assert not isinstance(found, cs.ImageError)
    assert (found.label, found.class_id, str(found.heat.dtype)) == ("red", 0, "float32")
    assert found.heat[:, : SIDE // 2].mean() > found.heat[:, SIDE // 2 :].mean() + 0.2


def test_another_class_can_be_asked_for(colour_bundle: Path) -> None:
    (found,) = cs.explain(colour_bundle, half((200, 0, 0), (0, 0, 60)), label="blue")
    assert not isinstance(found, cs.ImageError)
    assert (found.label, found.score < 0.5) == ("blue", True)
    assert found.heat[:, SIDE // 2 :].mean() > found.heat[:, : SIDE // 2].mean() + 0.2


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_a_bundle_for_masks_shows_where_the_class_is(pixel_bundle: Path, method: str) -> None:
    (found,) = cs.explain(pixel_bundle, half((200, 0, 0), (0, 0, 60), 32), method=method, label="blue")
    assert not isinstance(found, cs.ImageError)
    assert found.heat.shape == (32, 32)
    assert found.heat[:, 16:].mean() > found.heat[:, :16].mean() + 0.2


def test_masks_by_windows_are_explained_as_a_whole(tmp_path: Path) -> None:
    spec = WholeImage(method="whole", window=Window(size=(16, 16)))
    bundle = write_pixel_bundle(tmp_path / "windows", preprocess=spec)
    (found,) = cs.explain(bundle, half((200, 0, 0), (0, 0, 60), 40), label="blue")
    assert not isinstance(found, cs.ImageError)
    assert found.heat.shape == found.image.shape[:2] == (40, 40)
    assert found.heat[:, 20:].mean() > found.heat[:, :20].mean() + 0.2


def test_a_run_is_explained_by_grad_cam_and_a_bundle_by_occlusion(run: Path, colour_bundle: Path) -> None:
    assert (open_explainer(run).method, open_explainer(colour_bundle).method) == ("grad-cam", "occlusion")


@pytest.mark.parametrize("method", ["grad-cam", "layer-cam", "occlusion", "rise"])
def test_a_run_is_explained_by_every_method(run: Path, method: str) -> None:
    (found,) = cs.explain(run, half((200, 0, 0), (0, 0, 60)), method=method)
    assert not isinstance(found, cs.ImageError)
    assert found.heat.shape == (32, 32)
    assert found.method == method


def test_a_bundle_has_no_gradients(colour_bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="grad-cam needs gradients"):
        open_explainer(colour_bundle, "grad-cam")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"method": "gradcam"}, "did you mean `grad-cam`"), ({"label": "rad"}, "there is no class `rad`; did you mean")],
)
def test_names_that_there_are_none_of_are_refused(colour_bundle: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConvsmithError, match=message):
        cs.explain(colour_bundle, half((9, 0, 0), (0, 0, 0)), **changes)


def test_each_image_becomes_a_picture_and_json(
    colour_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(half((200, 0, 0), (0, 0, 60))).save(tmp_path / folder / "one.png")
    out = tmp_path / "out"
    main_of = ["explain", str(colour_bundle), str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out), "--json"]
    with pytest.raises(SystemExit) as end:
        main(main_of)
    assert end.value.code == 0
    assert sorted(it.name for it in out.iterdir()) == ["one-2.json", "one-2.png", "one.json", "one.png"]
    beside, printed = (
        json.loads(it) for it in ((out / "one.json").read_text(), capsys.readouterr().out.split("\n")[0])
    )
    assert beside == printed
    assert (beside["label"], beside["method"], beside["size"]) == ("red", "occlusion", [8, 8])
    assert np.array(beside["heat"]).shape == (8, 8)
    assert beside["peak"][1] < SIDE // 2


def test_a_bad_image_is_a_line_and_the_others_are_explained(
    colour_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    Image.fromarray(half((200, 0, 0), (0, 0, 60))).save(tmp_path / "good.png")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "explain",
                str(colour_bundle),
                str(tmp_path / "bad.png"),
                str(tmp_path / "good.png"),
                "--out",
                str(tmp_path / "out"),
            ]
        )
    said = capsys.readouterr()
    assert (end.value.code, "red" in said.out, "bad.png" in said.err) == (1, True, True)
    assert [it.name for it in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_picture_never_replaces_the_image(colour_bundle: Path, tmp_path: Path) -> None:
    Image.fromarray(half((200, 0, 0), (0, 0, 60))).save(tmp_path / "one.png")
    with pytest.raises(ConvsmithError, match="lies in the folder for the pictures"):
        cs.explain(colour_bundle, tmp_path / "one.png", tmp_path)


def test_colours_are_those_of_a_perceptually_uniform_map() -> None:
    expected = colormaps["inferno"](np.arange(256))[:, :3] * 255
    assert np.abs(colours() - expected).max() < 7
    lightness = colours() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.5).all()


def test_an_overlay_is_hot_where_the_heat_is() -> None:
    image = np.full((2, 2, 3), 100, np.uint8)
    shown = overlay(image, np.array([[0, 1], [0.5, 0]], np.float32))
    assert shown.dtype == np.uint8
    assert shown[0, 1].sum() > shown[1, 0].sum() > shown[0, 0].sum()


def test_a_picture_has_the_image_its_heat_and_a_legend() -> None:
    image, heat = np.full((100, 120, 3), 50, np.uint8), np.zeros((100, 120), np.float32)
    sheet = np.asarray(Image.open(io.BytesIO(picture(image, heat, "a cat"))))
    assert sheet.shape[1] > 2 * 240
    rows = [row for row in sheet if (row == colours()[-1]).all(axis=1).any()]
    assert rows, "the hottest colour is in the legend alone"


def test_probabilities_are_those_of_classes_that_exclude_each_other_or_not() -> None:
    logits = np.array([[0.0, np.log(3.0)]], np.float32)
    assert np.exp(log_probability(logits, 1, exclusive=True)) == pytest.approx([0.75])
    assert np.exp(log_probability(logits, 0, exclusive=False)) == pytest.approx([0.5])
