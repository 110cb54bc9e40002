from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models as tv

import convsmith as cs
from convsmith.bundle.preprocess import preprocess
from convsmith.errors import ConvsmithError
from convsmith.models.weights import published
from convsmith.models.weights.checkpoint_file import read_state_dict
from tests.models.download_server import Server, serving

TORCHVISION = [name for name in cs.list_weights() if ".tv_" in name]
COSTS = {
    (w.model, tuple(w.options.items()), w.input_size, w.params, w.gmacs) for w in map(cs.weights, cs.list_weights())
}
QUICK = (
    "cifar_resnet20",
    "convnext_isotropic_small",
    "convnext_tiny",
    "mobilenet_v2",
    "resnest50",
    "resnet18",
    "resnet50",
)
CLASSES = {"CIFAR-10": 10, "ImageNet-1K": 1000, "ImageNet-22K": 21841, "Cityscapes": 19, "PASCAL-Context": 59}


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_weights_are_what_torchvision_says(name: str) -> None:
    w = cs.weights(name)
    theirs = tv.get_model_weights(w.model)[f"IMAGENET1K_{name[-2:].upper()}"]
    metrics = theirs.meta["_metrics"]["ImageNet-1K"]
    assert (w.url, w.top1, w.top5) == (theirs.url, metrics["acc@1"], metrics["acc@5"])
    assert w.params == theirs.meta["num_params"]
    assert w.gmacs == pytest.approx(theirs.meta["_ops"], abs=6e-4)  # theirs has three digits
    assert w.categories == tuple(theirs.meta["categories"])
    rule, transform = w.preprocessing, theirs.transforms()
    assert rule is not None
    assert ([rule.resize], [rule.crop], rule.interpolation) == (
        transform.resize_size, transform.crop_size, transform.interpolation.value,
    )  # fmt: skip
    assert (rule.mean, rule.std) == (tuple(transform.mean), tuple(transform.std))


def test_none_of_torchvisions_weights_of_our_models_is_left_out() -> None:
    theirs = {
        f"{model}.tv_{entry.name[-2:].lower()}"
        for model in set(cs.list_models()) & set(tv.list_models(module=tv))
        for entry in tv.get_model_weights(model)
    }
    assert set(TORCHVISION) == theirs


@pytest.mark.parametrize(
    ("model", "options", "size", "params", "gmacs"),
    [pytest.param(*cost, marks=() if cost[0] in QUICK else pytest.mark.slow) for cost in sorted(COSTS)],
)
def test_parameters_and_gmacs_are_those_of_the_model(
    model: str, options: tuple[tuple[str, int], ...], size: tuple[int, int], params: int, gmacs: float
) -> None:
    with torch.device("meta"):
        network = cs.create_model(model, **dict(options)).eval()  # type: ignore[arg-type]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, *size))
    assert sum(parameter.numel() for parameter in network.parameters()) == params
    assert round(counter.get_total_flops() / 2e9, 4) == gmacs


@pytest.mark.parametrize("name", cs.list_weights())
def test_every_entry_is_whole(name: str) -> None:
    w = cs.weights(name)
    assert w.name == name == f"{w.model}.{name.rpartition('.')[2]}"
    assert w.url.startswith("https://")
    assert w.path.name in w.url
    assert w.sha256 is None or f"-{w.sha256[:8]}." in w.url
    (classes,) = (count for dataset, count in CLASSES.items() if w.dataset.startswith(dataset))
    assert w.categories is None or len(w.categories) == classes
    assert w.options.get("num_classes", classes) == classes
    assert (w.preprocessing is None) == w.model.endswith(("_seg", "_ocr"))
    assert w.preprocessing is None or w.input_size == (w.preprocessing.crop, w.preprocessing.crop)
    assert w.preprocessing is None or (w.mean, w.std) == (w.preprocessing.mean, w.preprocessing.std)
    assert w.top1 or w.miou or w.dataset == "ImageNet-22K"  # of which no accuracy is published


def test_no_two_files_have_one_place() -> None:
    assert len({cs.weights(name).path for name in cs.list_weights()}) == len(cs.list_weights())


def test_categories_are_missing_only_where_the_publisher_lists_none() -> None:
    unnamed = {cs.weights(name).dataset.split(" ")[0] for name in cs.list_weights() if not cs.weights(name).categories}
    assert unnamed == {"ImageNet-22K", "PASCAL-Context"}


@pytest.mark.parametrize("name", cs.list_weights("resnest*"))
def test_resnest_cuts_out_a_square_before_it_is_resized(name: str) -> None:
    rule = cs.weights(name).preprocessing
    assert rule is not None
    assert (rule.method, rule.resize, rule.interpolation) == ("crop_then_resize", rule.crop + 32, "bicubic")


@pytest.mark.parametrize("name", [name for name in cs.list_weights("convnext*") if ".fb_" in name])
def test_convnext_warps_from_384_on_and_crops_below(name: str) -> None:
    rule = cs.weights(name).preprocessing
    assert rule is not None
    found = (rule.method, rule.resize, rule.crop, rule.interpolation)
    assert found == (
        ("warp", 384, 384, "bicubic") if name.endswith("_384") else ("resize_then_crop", 256, 224, "bicubic")
    )


def test_list_weights_filters_by_name_or_model() -> None:
    assert cs.list_weights("resnet50") == cs.list_weights("resnet50.*") == ["resnet50.tv_v1", "resnet50.tv_v2"]
    assert cs.list_weights("cifar_resnet?6.*") == ["cifar_resnet56.akamaster"]
    assert cs.list_weights("nothing*") == []


def test_unknown_weights_say_what_was_meant() -> None:
    with pytest.raises(ConvsmithError, match=r"did you mean `resnet50.tv_v2`\?\n`convsmith weights` lists them"):
        cs.weights("resnet50.tv_2")
    with pytest.raises(ConvsmithError, match=r"did you mean `resnet50.tv_v2`"):
        cs.create_model("resnet50", weights="resnet50.tv_2")


def test_preprocess_takes_any_image_and_gives_the_models_input(tmp_path: Path) -> None:
    w = cs.weights("resnet50.tv_v2")
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    assert w.preprocessing is not None
    expected = preprocess(pixels, w.preprocessing)
    assert expected.shape == (3, 224, 224)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "image.png")
    file = io.BytesIO()
    image.save(file, "PNG")
    for source in (pixels, image, tmp_path / "image.png", str(tmp_path / "image.png"), file.getvalue()):
        assert np.array_equal(w.preprocess(source), expected)
    theirs = tv.ResNet50_Weights.IMAGENET1K_V2.transforms()(image)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (w.preprocessing.mean, w.preprocessing.std))
    assert np.allclose((expected / np.float32(255) - mean) / std, theirs.numpy(), atol=1e-5)


def test_weights_for_whole_images_have_no_square_to_make_but_a_mean_and_standard_deviation() -> None:
    w = cs.weights("hrnet_w48_seg.cityscapes")
    with pytest.raises(ConvsmithError, match="makes no square of an image"):
        w.preprocess(np.zeros((8, 8, 3), np.uint8))
    assert (w.mean, w.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_reading_the_facts_needs_no_torch() -> None:
    code = "import convsmith as cs, sys; cs.weights(cs.list_weights()[0]); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_create_model_downloads_named_weights_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.save({"state_dict": cs.create_model("cifar_resnet20").state_dict()}, tmp_path / "checkpoint.th")
    content = (tmp_path / "checkpoint.th").read_bytes()
    with serving(Server(content=content)) as server:
        published_here = cs.weights("cifar_resnet20.akamaster").model_copy(
            update={"url": server.url, "sha256": hashlib.sha256(content).hexdigest()[:8]}
        )
        monkeypatch.setattr(published, "_published", lambda: {published_here.name: published_here})
        first = cs.create_model("cifar_resnet20", weights="cifar_resnet20.akamaster")
        assert server.asked == [None]
    second = cs.create_model("cifar_resnet20", num_classes=3, weights="cifar_resnet20.akamaster")
    assert torch.equal(first.state_dict()["conv1.weight"], second.state_dict()["conv1.weight"])
    assert second.num_classes == 3
    assert published_here.download() == tmp_path / "cache" / "weights" / Path(server.url).name


def test_weights_of_another_model_are_refused_before_they_are_downloaded() -> None:
    with pytest.raises(ConvsmithError, match=r"are for `resnet50`, not for `resnet18`\n.*: resnet18.tv_v1\."):
        cs.create_model("resnet18", weights="resnet50.tv_v2")


def put_by_hand(monkeypatch: pytest.MonkeyPatch, name: str) -> cs.Weights:
    """Our random weights as the published file of that name, in its place."""
    w = cs.weights(name)
    w.path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(cs.create_model(w.model).state_dict(), w.path)
    mine = w.model_copy(update={"sha256": hashlib.sha256(w.path.read_bytes()).hexdigest()})
    monkeypatch.setattr(published, "_published", lambda: {name: mine})
    return mine


def test_another_file_in_the_place_of_a_published_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    w = put_by_hand(monkeypatch, "cifar_resnet20.akamaster")
    cs.create_model("cifar_resnet20", weights=w.name)
    w.path.write_bytes(w.path.read_bytes()[:-1] + b"?")
    with pytest.raises(ConvsmithError, match=r"is not the published file: its SHA-256 is .*\nRemove it") as caught:
        cs.create_model("cifar_resnet20", weights=w.name)
    assert str(w.path) in caught.value.what


@pytest.mark.parametrize("model", ["hrnet_w18_seg", "hrnet_w18_ocr"])
def test_a_classifiers_weights_serve_the_segmentation_models_it_is_the_backbone_of(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = put_by_hand(monkeypatch, "hrnet_w18.ms_in1k")
    made = cs.create_model(model, num_classes=5, weights=w.name)
    assert made.num_classes == 5
    assert torch.equal(made.state_dict()["conv1.weight"], read_state_dict(w.path)["conv1.weight"])
    with pytest.raises(ConvsmithError, match=r"are for `hrnet_w18`, not for `hrnet_w48_seg`"):
        cs.create_model("hrnet_w48_seg", weights=w.name)


@pytest.mark.parametrize("weights", ["convnext_tiny.fb_in22k", "convnext_tiny.tv_v1"])
def test_a_classifiers_weights_serve_the_models_with_a_decode_head(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = put_by_hand(monkeypatch, weights)
    made = cs.create_model("convnext_tiny_upernet", num_classes=5, weights=w.name)
    assert made.num_classes == 5
    stem = next(iter(read_state_dict(w.path).values()))
    assert torch.equal(made.state_dict()["backbone.downsample_layers.0.0.weight"].flatten(), stem.flatten())


def test_the_options_that_weights_need_are_known_for_their_own_model_only() -> None:
    assert published.options_of("convnext_tiny.fb_in22k", "convnext_tiny") == {"num_classes": 21841}
    assert published.options_of("hrnet_w18.ms_in1k", "hrnet_w18_seg") == {}
    assert published.options_of("folder/mine.pth", "convnext_tiny") == {}


@pytest.mark.parametrize("given", ["mine.pth", "folder/resnet50.tv_v2", "/nowhere/mine"])
def test_what_looks_like_a_path_is_one(given: str) -> None:
    with pytest.raises(ConvsmithError, match=f"there is no checkpoint file {given}"):
        cs.create_model("resnet18", weights=given)


def test_a_recipe_can_name_weights(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(32):
                Image.new("L", (8, 8), i).save(tmp_path / "data" / split / name / f"{i}.png")
    recipe = cs.load_recipe("digits", ["model.weights=resnet18.tv_v1", "model.num_classes=2"])
    with pytest.raises(ConvsmithError, match=r"the weights `resnet18.tv_v1` are for `resnet18`, not for `cifar_resnet"):
        cs.train(recipe, data=tmp_path / "data", out=tmp_path / "run")


def test_an_official_file_put_there_by_hand_is_used(test_data: Path) -> None:
    w = cs.weights("cifar_resnet20.akamaster")
    content = (test_data / "data" / "cifar_resnet20.th").read_bytes()
    assert hashlib.sha256(content).hexdigest() == w.sha256
    w.path.parent.mkdir(parents=True)
    w.path.write_bytes(content)
    model = cs.create_model(w.model, weights=w.name)
    assert torch.equal(model.state_dict()["linear.bias"], read_state_dict(w.path)["module.linear.bias"])


def test_the_documented_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text("utf-8")
    facts, use, *_ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    w = put_by_hand(monkeypatch, "resnet50.tv_v2")
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (320, 240), "tan").save("cat.jpg")
    names = {"torch": torch}
    exec(facts, names)
    assert capsys.readouterr().out.splitlines()[-1] == "1000 tench"
    exec(use, names)
    assert capsys.readouterr().out.strip() in (w.categories or ())


def test_the_documented_ways_to_load_a_file_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text("utf-8")
    _, _, backbone, file = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    put_by_hand(monkeypatch, "hrnet_w18.ms_in1k")
    exec(backbone, {"cs": cs})
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {}, "model_ema": cs.create_model("convnext_tiny").state_dict()}, "checkpoint-best.pth")
    exec(file, {"cs": cs})
    assert capsys.readouterr().out == re.findall(r"print\(report\)  # (.*\n)", file)[0]
