"""A second output of the bundle, for every task: from the key of a recipe to all forms of the model and every use."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow.parquet
import pytest
import torch
from numpy.typing import NDArray

import convsmith as cs
from convsmith.analyze.embed import embedding_bundle
from convsmith.analyze.evaluate import judge_bundle
from convsmith.analyze.report.look_closer import NEAREST, nearest_training, training_samples
from convsmith.bundle.format import read_manifest
from convsmith.bundle.predictor import Bundle
from convsmith.bundle.runtime import OUTPUT
from convsmith.bundle.tasks import list_tasks
from convsmith.bundle.write import Card, write_bundle
from convsmith.cli.main import main
from convsmith.deploy.format import open_bundle
from convsmith.deploy.onnx_outputs import without_embeddings
from convsmith.errors import ConvsmithError
from convsmith.jobs.export import export
from convsmith.models import registry
from convsmith.models.layers import Normalize
from convsmith.progress import no_progress
from convsmith.training.checkpoints.checkpoint import best_step_folder
from convsmith.training.pack import trained_model
from tests.tasks.tiny_segmenter import name_tiny_segmenter
from tests.training.conftest import SMALL
from tests.training.mosaics import write_mosaics
from tests.training.scenes import scenes_recipe, write_scenes
from tests.training.tiny_model import TinyNet

KEY = ("bundle.embeddings=true", "schedule.epochs=1", "ema=null")
Made = tuple[cs.Run, Path, Path]


def make_classification(folder: Path, digits: Path) -> Made:
    recipe = cs.load_recipe("digits", [*SMALL, *KEY, "model.name=tiny"])
    return cs.train(recipe, digits, folder / "run"), digits, digits / "val/0/12.png"


def make_multilabel(folder: Path, _digits: Path) -> Made:
    table = write_mosaics(folder)
    recipe = cs.load_recipe("digits", [*SMALL, *KEY, "task=multilabel", "model.name=tiny", "batch.per_device=4"])
    return cs.train(recipe, table, folder / "run"), table, folder / "000.png"


def make_segmentation(folder: Path, _digits: Path) -> Made:
    scenes = write_scenes(folder / "scenes")
    return cs.train(scenes_recipe(folder, *KEY), scenes, folder / "run"), scenes, scenes / "images/val/00.png"


MAKE: dict[str, Callable[[Path, Path], Made]] = {
    "classification": make_classification,
    "multilabel": make_multilabel,
    "segmentation": make_segmentation,
}


@pytest.fixture(scope="module", params=list_tasks())
def made(
    request: pytest.FixtureRequest, digits: Path, tiny: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    """A run of one epoch for each task, its data, and one of its images."""
    with pytest.MonkeyPatch.context() as patch:
        name_tiny_segmenter(patch)
        yield MAKE[request.param](tmp_path_factory.mktemp(request.param), digits)


@pytest.fixture(scope="module")
def classified(digits: Path, tiny: None, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_classification(tmp_path_factory.mktemp("classified"), digits)


def seen_by_the_head(run: cs.Run, bundle: Bundle[Any], image: Path) -> NDArray[np.float32]:
    """What the torch model's last layer is given, averaged over places."""
    pixels = bundle.task.first_input(bundle.preprocess(image), bundle.manifest.preprocess, len(bundle.labels))
    model = trained_model(run.recipe, best_step_folder(run.checkpoints)).eval()
    spec = bundle.manifest.preprocess
    inputs = Normalize(spec.mean, spec.std)(torch.from_numpy(pixels[None]))
    with torch.no_grad():
        features = model.forward_features(inputs)
    row: NDArray[np.float32] = features.flatten(2).mean(2)[0].numpy() if features.ndim > 2 else features[0].numpy()
    return row


def test_every_task_has_an_example() -> None:
    assert sorted(MAKE) == list_tasks()


def test_an_embedding_is_what_the_last_layer_sees(made: Made) -> None:
    run, _, image = made
    bundle: Bundle[Any] = cs.load(run.bundle)
    found = bundle.embed(image)
    assert found.dtype == np.float32
    assert found.shape == (bundle.manifest.embeddings,)
    np.testing.assert_allclose(found, seen_by_the_head(run, bundle, image), atol=1e-4)


def test_embeddings_are_proved_like_the_logits(made: Made) -> None:
    parity = read_manifest(made[0].bundle).parity
    assert parity["embeddings"]["snr_db"] > 60
    assert parity["embeddings"]["images"] == parity["images"]


def test_many_images_are_embedded_as_one_is_and_a_bad_one_is_named(made: Made, tmp_path: Path) -> None:
    bundle: Bundle[Any] = cs.load(made[0].bundle)
    (tmp_path / "bad.png").write_bytes(b"no picture")
    first, bad, second = bundle.embed_many([made[2], tmp_path / "bad.png", made[2]])
    assert isinstance(bad, cs.ImageError)
    assert "bad.png" in bad.what
    for row in (first, second):
        assert not isinstance(row, cs.ImageError)
        np.testing.assert_allclose(row, bundle.embed(made[2]), atol=1e-5)


def test_a_run_of_every_task_is_explained(made: Made) -> None:
    run, _, image = made
    (found,) = cs.explain(run.path, image)
    assert not isinstance(found, cs.ImageError)
    assert found.method == "grad-cam"
    assert found.heat.shape == found.image.shape[:2]


@pytest.mark.parametrize(
    "file_format",
    [
        "onnx-fp16",
        "openvino",
        *(pytest.param(it, marks=pytest.mark.slow) for it in ("onnx", "triton", "torchscript", "pt2")),
    ],
)
def test_other_formats_keep_embeddings(made: Made, file_format: str, tmp_path: Path) -> None:
    run, data, image = made
    report = export(run.path, file_format, tmp_path / "out", data)
    assert report.parity["embeddings"]["snr_db"] > 40
    there: Bundle[Any] = open_bundle(tmp_path / "out", allow_code=True)
    mine = cs.load(run.bundle).embed(image)
    np.testing.assert_allclose(there.embed(image), mine, atol=0.02 * np.abs(mine).max())


def test_triton_is_told_of_the_second_output(classified: Made, tmp_path: Path) -> None:
    export(classified[0].path, "triton", tmp_path / "out", classified[1])
    for name, dims in (("out", [8]), ("out_pixels", [1, 8])):
        config = (tmp_path / "out" / name / "config.pbtxt").read_text()
        assert f'name: "embeddings" data_type: TYPE_FP32 dims: {dims}' in config


def test_an_older_opset_keeps_embeddings(classified: Made, tmp_path: Path) -> None:
    run, data, image = classified
    export(run.path, "onnx", tmp_path / "out", data, opset=12)
    np.testing.assert_allclose(cs.load(tmp_path / "out").embed(image), cs.load(run.bundle).embed(image), atol=1e-4)


def test_one_size_keeps_embeddings(tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name_tiny_segmenter(monkeypatch)
    run, scenes, image = make_segmentation(tmp_path, digits)
    export(run.path, "onnx", tmp_path / "out", scenes, size=(16, 24))
    bundle: Bundle[Any] = cs.load(tmp_path / "out")
    assert bundle.embed(image).shape == (bundle.manifest.embeddings,)


@pytest.mark.parametrize("method", ["static", "dynamic"])
def test_int8_keeps_embeddings(classified: Made, method: Any, tmp_path: Path) -> None:
    run, data, image = classified
    most = 100.0 if method == "static" else None
    cs.quantize(run.bundle, data, tmp_path / "int8", method=method, max_drop=most)
    assert read_manifest(tmp_path / "int8").parity["embeddings"]["snr_db"] > 20
    exact, rounded = (cs.load(it).embed(image) for it in (run.bundle, tmp_path / "int8"))
    assert np.abs(rounded - exact).max() < 0.1 * np.abs(exact).max()


def test_what_is_trained_for_int8_has_embeddings(digits: Path, tiny: None, tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", [*SMALL, *KEY, "model.name=tiny", "quantization_aware={range_momentum: 1.0}"])
    run = cs.train(recipe, digits, tmp_path / "run")
    assert read_manifest(run.bundle).parity["embeddings"]["snr_db"] > 12
    assert cs.load(run.bundle).embed(digits / "val/0/12.png").shape == (8,)


def test_who_asks_for_logits_gets_no_embeddings_computed(classified: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle: Bundle[Any] = cs.load(classified[0].bundle)
    asked: list[list[str]] = []
    session = bundle._runtime._session  # type: ignore[attr-defined]

    class Session:
        def run(self, outputs: list[str], inputs: Any) -> Any:
            asked.append(outputs)
            return session.run(outputs, inputs)

    monkeypatch.setattr(bundle._runtime, "_session", Session())
    bundle.predict(classified[2])
    assert asked == [[OUTPUT]]


def test_without_the_key_a_bundle_is_as_before(digits: Path, tiny: None, tmp_path: Path) -> None:
    recipe = cs.load_recipe("digits", [*SMALL, "schedule.epochs=1", "model.name=tiny"])
    run = cs.train(recipe, digits, tmp_path / "run")
    assert "embeddings" not in json.loads((run.bundle / "bundle.json").read_text())
    assert [it.name for it in onnx.load(run.bundle / "model.onnx").graph.output] == [OUTPUT]
    with pytest.raises(ConvsmithError, match=r"(?s)gives logits alone.*bundle\.embeddings=true"):
        cs.load(run.bundle).embed(digits / "val/0/12.png")


def test_embeddings_of_a_bundle_without_them_are_cut_out_of_its_file(classified: Made, tmp_path: Path) -> None:
    run, _, image = classified
    content, manifest = (run.bundle / "model.onnx").read_bytes(), read_manifest(run.bundle)
    card = Card.of(manifest.model_copy(update={"embeddings": None}))
    write_bundle(tmp_path / "old", without_embeddings(content), card)
    old: Bundle[Any] = cs.load(tmp_path / "old")
    assert [it.name for it in onnx.load(tmp_path / "old/model.onnx").graph.output] == [OUTPUT]
    np.testing.assert_allclose(embedding_bundle(old).embed(image), cs.load(run.bundle).embed(image), atol=1e-5)


def test_embeddings_are_cut_out_of_float16_too(classified: Made, tmp_path: Path) -> None:
    run, data, image = classified
    export(run.path, "onnx-fp16", tmp_path / "half", data)
    card = Card.of(read_manifest(tmp_path / "half").model_copy(update={"embeddings": None}))
    write_bundle(tmp_path / "old", without_embeddings((tmp_path / "half/model.onnx").read_bytes()), card)
    found, mine = embedding_bundle(cs.load(tmp_path / "old")).embed(image), cs.load(run.bundle).embed(image)
    np.testing.assert_allclose(found, mine, atol=0.02 * np.abs(mine).max())


def test_a_manifest_that_promises_other_embeddings_is_damaged(classified: Made, tmp_path: Path) -> None:
    run = classified[0]
    manifest = read_manifest(run.bundle).model_copy(update={"embeddings": 9})
    write_bundle(tmp_path / "wrong", (run.bundle / "model.onnx").read_bytes(), Card.of(manifest))
    with pytest.raises(ConvsmithError, match="damaged"):
        cs.load(tmp_path / "wrong")


class Headless(TinyNet):
    """Computes its logits by other words than a call of its head."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(self.forward_features(x), self.head.weight, self.head.bias)


def test_a_model_that_never_calls_its_head_is_refused_before_the_first_step(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry._builders(), "headless", Headless)
    recipe = cs.load_recipe("digits", [*SMALL, *KEY, "model.name=headless"])
    with pytest.raises(ConvsmithError, match=r"bundle\.embeddings: Headless gives no features"):
        cs.train(recipe, digits, tmp_path / "run")
    assert not (tmp_path / "run/metrics.jsonl").exists()


def run_embed(*words: object) -> int:
    with pytest.raises(SystemExit) as end:
        main(["embed", *map(str, words)])
    return int(end.value.code or 0)


def test_the_training_images_most_like_an_image_are_found_for_every_task(made: Made) -> None:
    run, data, _ = made
    judged = judge_bundle(open_bundle(run.bundle), data, progress=no_progress)
    train = training_samples(judged.bundle.manifest, data)
    (near,) = nearest_training(judged, train, np.arange(1), no_progress, math.inf)
    assert len(near) == NEAREST
    assert all(set(label.split(", ")) <= {*judged.bundle.labels, "none"} for label, _ in near)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_images_are_embedded_into_a_file(classified: Made, kind: str, tmp_path: Path) -> None:
    run, data, image = classified
    out = tmp_path / f"rows.{kind}"
    assert run_embed(run.path, data / "val", "--out", out) == 0
    if kind == "npz":
        file = np.load(out)
        paths, rows = file["path"].tolist(), file["embedding"]
    else:
        table = pyarrow.parquet.read_table(out).to_pydict()
        paths, rows = table["path"], np.array(table["embedding"], np.float32)
    assert rows.shape == (20, 8)
    np.testing.assert_allclose(rows[paths.index(str(image))], cs.load(run.bundle).embed(image), atol=1e-5)


def test_how_well_embeddings_tell_classes_apart_is_printed(
    classified: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data, _ = classified
    assert run_embed(run.path, "--data", data, "--json", "--out", tmp_path / "rows.npz") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["train_images"], found["images"], found["length"]) == (48, 20, 8)
    assert 0.25 < found["knn"] <= 1
    assert 0.25 < found["linear"] <= 1
    file = np.load(tmp_path / "rows.npz")
    assert sorted(set(file["split"].tolist())) == ["train", "val"]
    assert sorted(set(file["label"].tolist())) == list("0123")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "embed takes images, or --data"),
        (("a.png",), "embeddings of images go into a file"),
        (("a.png", "--out", "rows.csv"), "embeddings are not written as .csv"),
    ],
)
def test_what_cannot_be_embedded_is_said_before_the_model_is_opened(
    words: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_embed(tmp_path, *words) == 2
    assert message in capsys.readouterr().err


def test_a_parquet_file_without_pyarrow_is_refused_before_the_model_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert run_embed(tmp_path, "a.png", "--out", "rows.parquet") == 2
    assert "a Parquet file needs the package `pyarrow`" in capsys.readouterr().err


def test_embed_in_python_gives_a_row_for_each_image(classified: Made) -> None:
    run, data, image = classified
    rows = cs.embed(run.bundle, [image, image])
    assert rows.shape == (2, 8)
    assert cs.embed(cs.load(run.bundle), data / "val").shape == (20, 8)
