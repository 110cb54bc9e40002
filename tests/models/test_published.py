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
from convsmith.models import published
from convsmith.models.weights import read_state_dict
from tests.models.download_server import Server, serving

TORCHVISION = [name for name in cs.list_weights() if ".tv_" in name]
COSTS = {(w.model, w.preprocessing.crop, w.params, w.gmacs) for w in map(cs.weights, cs.list_weights())}


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
    assert (w.params, w.gmacs) == (theirs.meta["num_params"], theirs.meta["_ops"])
    assert w.categories == tuple(theirs.meta["categories"])
    rule, transform = w.preprocessing, theirs.transforms()
    assert ([rule.resize], [rule.crop], rule.interpolation) == (
        transform.resize_size, transform.crop_size, transform.interpolation.value,
    )  # fmt: skip
    assert (rule.mean, rule.std) == (tuple(transform.mean), tuple(transform.std))


def test_none_of_torchvisions_weights_of_our_models_is_left_out() -> None:
    theirs = {
        f"{model}.tv_{entry.name[-2:].lower()}"
        for model in set(cs.list_models()) & set(tv.list_models(module=tv))
        if not model.startswith("convnext")  # torchvision's has other state-dict names
        for entry in tv.get_model_weights(model)
    }
    assert set(TORCHVISION) == theirs


@pytest.mark.parametrize(("model", "crop", "params", "gmacs"), sorted(COSTS))
def test_parameters_and_gmacs_are_those_of_the_model(model: str, crop: int, params: int, gmacs: float) -> None:
    with torch.device("meta"):
        network = cs.create_model(model).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, crop, crop))
    assert sum(parameter.numel() for parameter in network.parameters()) == params
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmacs, abs=6e-4)


@pytest.mark.parametrize("name", cs.list_weights())
def test_every_entry_is_whole(name: str) -> None:
    w = cs.weights(name)
    assert w.name == name == f"{w.model}.{name.rpartition('.')[2]}"
    assert w.url.startswith("https://")
    assert f"-{w.sha256[:8]}." in w.url
    assert w.path.name in w.url
    assert w.categories is None or len(w.categories) == {"CIFAR-10": 10, "ImageNet-1K": 1000}[w.dataset]
    assert w.top1 or w.miou


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
    facts, use = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    w = cs.weights("resnet50.tv_v2")
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (320, 240), "tan").save("cat.jpg")
    w.path.parent.mkdir(parents=True)
    torch.save(cs.create_model("resnet50").state_dict(), w.path)
    names = {"torch": torch}
    exec(facts, names)
    assert capsys.readouterr().out.splitlines()[-1] == "1000 tench"
    exec(use, names)
    assert capsys.readouterr().out.strip() in (w.categories or ())
