"""Models of timm and torchvision under our interface."""

from __future__ import annotations

import copy
import re
import shutil
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

import convsmith as cs
from convsmith.bundle.runtime import OnnxRuntime
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.errors import install_command
from convsmith.models import bridge
from convsmith.models.base import SegmentationModel, VisionModel
from convsmith.spec import Preprocess
from tests.training.conftest import SMALL, digits  # noqa: F401

TIMM = ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"]
TORCHVISION = ["squeezenet1_1", "shufflenet_v2_x0_5", "googlenet"]
SEGMENTATION = ["lraspp_mobilenet_v3_large", "fcn_resnet50"]
CLASSIFIERS = [*(f"timm/{name}" for name in TIMM), *(f"torchvision/{name}" for name in TORCHVISION)]
ALL = [*CLASSIFIERS, *(f"torchvision/{name}" for name in SEGMENTATION)]
SIDE = 160  # what test_vit was made for


def on_meta(name: str, **options: Any) -> VisionModel:
    with torch.device("meta"):
        return cs.create_model(name, **options)


def outputs(model: nn.Module, images: Tensor) -> list[Tensor]:
    given = model(images)
    return given if isinstance(given, list) else [given]


@pytest.mark.parametrize("name", ALL)
def test_logits_are_as_many_as_wanted_and_so_are_those_of_a_new_head(name: str) -> None:
    model = on_meta(name, num_classes=7)
    images = torch.empty(2, 3, SIDE, SIDE, device="meta")
    shape = (SIDE, SIDE) if isinstance(model, SegmentationModel) else ()
    assert model.num_classes == 7
    assert [logits.shape for logits in outputs(model, images)] == [(2, 7, *shape)]
    model.reset_head(3)
    assert model.num_classes == 3
    assert [logits.shape for logits in outputs(model, images)] == [(2, 3, *shape)]


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("timm/test_vit", lambda: timm.create_model("test_vit")),
        ("torchvision/squeezenet1_1", torchvision.models.squeezenet1_1),
        ("torchvision/lraspp_mobilenet_v3_large", torchvision.models.segmentation.lraspp_mobilenet_v3_large),
    ],
)
@torch.inference_mode()
def test_files_of_the_library_load_under_their_own_names(
    name: str, build: Callable[..., nn.Module], tmp_path: Path
) -> None:
    theirs = build(**{"weights_backbone": None} if "lraspp" in name else {}).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = cs.create_model(name, weights=tmp_path / "theirs.pth").eval()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    images = torch.randn(1, 3, SIDE, SIDE)
    expected = theirs(images)
    assert torch.equal(outputs(ours, images)[-1], expected["out"] if isinstance(expected, dict) else expected)


@pytest.mark.parametrize("name", ["torchvision/mnasnet0_5", "timm/test_resnet"])
def test_tensors_that_do_not_say_of_which_version_they_are_load(name: str) -> None:
    model = cs.create_model(name, num_classes=3)
    tensors = {name: torch.rand_like(value.float()).to(value.dtype) for name, value in model.state_dict().items()}
    model.load_state_dict(tensors)
    assert all(torch.equal(value, tensors[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "advice"),
    [
        ("googlenet", {"aux_logits": True, "init_weights": False}, False),
        ("inception_v3", {"aux_logits": True, "init_weights": False}, False),
        ("fcn_resnet50", {"aux_loss": True, "weights_backbone": None}, True),
    ],
)
def test_files_with_auxiliary_heads_load_without_them(
    name: str, options: dict[str, Any], advice: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with torch.device("cpu"):
        theirs = torchvision.models.get_model(name, **options).state_dict()
    with torch.device("meta"):
        model = cs.create_model(f"torchvision/{name}")
    model = model.to_empty(device="cpu")
    report = cs.load_weights(model, theirs)
    assert (report.missing, report.unexpected) == ((), ())
    assert set(report.dropped) == theirs.keys() - model.state_dict().keys()
    assert all(torch.equal(value, theirs[entry]) for entry, value in model.state_dict().items())
    assert "auxiliary heads (" in caplog.text
    assert ("aux_loss=True takes them" in caplog.text) == advice


def test_auxiliary_heads_load_where_the_model_has_them() -> None:
    theirs = torchvision.models.get_model("fcn_resnet50", aux_loss=True, weights_backbone=None).state_dict()
    model = cs.create_model("torchvision/fcn_resnet50", aux_loss=True)
    assert set(cs.load_weights(model, theirs).loaded) == set(theirs)


def test_a_file_for_other_classes_and_channels_is_adapted(tmp_path: Path) -> None:
    theirs = torchvision.models.shufflenet_v2_x0_5()
    model = cs.create_model("torchvision/shufflenet_v2_x0_5", num_classes=5, in_channels=1)
    report = cs.load_weights(model, theirs.state_dict())
    assert (report.dropped, report.reshaped) == (("fc.bias", "fc.weight"), ("conv1.0.weight",))
    assert torch.equal(model.state_dict()["conv1.0.weight"], theirs.conv1[0].weight.sum(1, keepdim=True))


@pytest.mark.parametrize("name", CLASSIFIERS)
@torch.inference_mode()
def test_the_head_turns_the_features_into_the_logits(name: str) -> None:
    model = cs.create_model(name, num_classes=5).eval()
    images = torch.randn(2, 3, SIDE, SIDE)
    features = model.forward_features(images)
    head = model.get_submodule(f"model.{model.heads[-1]}")
    torch.testing.assert_close(
        head(features).relu().mean((2, 3)) if features.ndim == 4 else head(features), model(images)
    )


@pytest.mark.parametrize("name", ALL)
def test_layer_ids_go_without_gaps_from_the_input_to_the_head(name: str) -> None:
    model = on_meta(name)
    ids = model.layer_ids()
    assert list(ids) == [parameter for parameter, _ in model.named_parameters()]
    assert sorted(set(ids.values())) == list(range(max(ids.values()) + 1))
    assert len(set(ids.values())) > 4
    assert ids[f"model.{model.input_layer}.weight"] == 0
    assert {ids[f"model.{head}.weight"] for head in model.heads} == {max(ids.values())}


def test_layers_of_a_residual_network_are_its_blocks() -> None:
    ids = on_meta("torchvision/resnet18").layer_ids()
    names = [
        "conv1.weight",
        "bn1.bias",
        "layer1.0.conv1.weight",
        "layer1.1.bn2.bias",
        "layer4.1.conv2.weight",
        "fc.bias",
    ]
    assert [ids[f"model.{name}"] for name in names] == [0, 0, 1, 2, 8, 9]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("torchvision/shufflenet_v2_x0_5", marks=pytest.mark.slow),
        pytest.param("torchvision/mnasnet0_5", marks=pytest.mark.slow),
        "timm/test_vit",
    ],
)
def test_gradient_checkpointing_changes_no_gradient_and_no_statistic(name: str) -> None:
    torch.manual_seed(0)
    plain = cs.create_model(name, num_classes=5).double().train()
    saving = copy.deepcopy(plain)
    saving.gradient_checkpointing()
    images = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    kept = []
    for model in (plain, saving):
        torch.manual_seed(1)  # mnasnet has dropout
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):  # type: ignore[misc]
            loss = model(images).square().sum()
        loss.backward()
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
    for one, other in zip(plain.parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for one, other in zip(plain.state_dict().values(), saving.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_switching_gradient_checkpointing_off_leaves_the_librarys_classes_alone() -> None:
    model = on_meta("torchvision/resnet18")
    before = [type(module) for module in model.modules()]
    model.gradient_checkpointing(False)
    assert [type(module) for module in model.modules()] == before
    model.gradient_checkpointing()
    model.gradient_checkpointing(False)
    assert not [module for module in model.modules() if getattr(module, "recompute", False)]


def test_a_network_without_blocks_offers_no_gradient_checkpointing() -> None:
    with pytest.raises(cs.ConvsmithError, match="Inception3 offers no gradient checkpointing"):
        on_meta("torchvision/inception_v3").gradient_checkpointing()


def test_auxiliary_maps_come_before_the_prediction() -> None:
    model = on_meta("torchvision/fcn_resnet50", num_classes=5, aux_loss=True)
    assert model.heads == ("aux_classifier.4", "classifier.4")
    model.reset_head(3)
    assert [logits.shape[1] for logits in outputs(model, torch.empty(2, 3, 64, 64, device="meta"))] == [3, 3]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_networks_with_auxiliary_classifiers_train_their_main_logits(name: str) -> None:
    model = on_meta(f"torchvision/{name}", num_classes=5).train()
    assert outputs(model, torch.empty(2, 3, 299, 299, device="meta"))[0].shape == (2, 5)
    assert not [entry for entry in model.state_dict() if "aux" in entry.lower()]


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/resnet18", "torchvision/fcn_resnet50"])
def test_in_channels_sets_the_image_channels_and_others_are_refused(name: str) -> None:
    model = on_meta(name, in_channels=4)
    assert model.in_channels == 4
    assert outputs(model, torch.empty(2, 4, 64, 64, device="meta"))[-1].shape[0] == 2
    with pytest.raises(cs.ConvsmithError, match="takes 4 channels, the images have 3"):
        model(torch.empty(2, 3, 64, 64, device="meta"))


def slowly(*names: str) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("channels", [1, 4, 5])
@pytest.mark.parametrize(
    "name",
    [
        *("timm/test_resnet", "timm/test_vit", "torchvision/squeezenet1_1"),
        *("timm/fastvit_t8",),  # sees the image in two convolutions
        *slowly("timm/crossvit_tiny_240", "timm/hrnet_w18_small", "timm/convnext_atto", "timm/efficientnet_b0"),
        *slowly("timm/inception_v3", "timm/resnest14d", "timm/swin_tiny_patch4_window7_224", "torchvision/vit_b_16"),
        *slowly("torchvision/googlenet", "torchvision/inception_v3", "torchvision/densenet121"),
        *slowly("torchvision/regnet_y_400mf", "torchvision/fcn_resnet50", "torchvision/lraspp_mobilenet_v3_large"),
    ],
)
def test_weights_for_rgb_are_adapted_to_other_channels(name: str, channels: int) -> None:
    model = cs.create_model(name, 5, in_channels=channels).eval()
    report = cs.load_weights(model, cs.create_model(name, 5).state_dict())
    assert f"{model.input_layer}.weight" in report.reshaped
    assert not report.missing
    side = {"timm/crossvit_tiny_240": 240}.get(name, 299 if "inception" in name else 224)
    with torch.inference_mode():
        assert outputs(model, torch.randn(1, channels, side, side))[-1].isfinite().all()


@pytest.mark.parametrize("name", ["timm/vit_tiny_patch16_224", "torchvision/vit_b_32"])
def test_a_size_that_the_library_refuses_is_an_error_with_its_reason(name: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=r"does not take images of 96x64 pixels.*224"):
        on_meta(name)(torch.empty(2, 3, 96, 64, device="meta"))


@pytest.mark.parametrize(("name", "side"), [("torchvision/inception_v3", 32), ("torchvision/squeezenet1_1", 8)])
def test_a_size_of_which_nothing_is_left_for_a_layer_is_an_error(name: str, side: int) -> None:
    with pytest.raises(cs.ConvsmithError, match=f"does not take images of {side}x{side} pixels"):
        on_meta(name).eval()(torch.empty(2, 3, side, side, device="meta"))


@pytest.mark.parametrize("name", ["timm/test_vit", "torchvision/squeezenet1_1"])
def test_the_exported_model_takes_bytes_and_any_batch(name: str) -> None:
    model = inference_model(cs.create_model(name, num_classes=5), Preprocess(resize=SIDE, crop=SIDE))
    images = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    exported = OnnxRuntime(export_onnx(model, (SIDE, SIDE))).run(images.numpy())
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(exported), model(images), atol=1e-4, rtol=1e-4)


def test_compiles_without_graph_breaks() -> None:
    model = cs.create_model("torchvision/squeezenet1_1", num_classes=5).eval()
    images = torch.randn(1, 3, 64, 64)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), model(images))


@pytest.mark.parametrize(
    "name", ["timm/test_resnet", pytest.param("torchvision/squeezenet1_1", marks=pytest.mark.slow)]
)
def test_a_recipe_trains_it_goes_on_with_it_and_predicts_with_its_bundle(
    name: str,
    digits: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    one_epoch = ["schedule.epochs=1", "schedule.warmup_epochs=0", "ema.decay=0.9", "checkpoint.every_steps=3"]
    larger = ["augment.random_crop.size=32", "preprocess.resize=32", "preprocess.crop=32"]
    recipe = cs.load_recipe("digits", [*SMALL, *larger, f"model.name={name}", *one_epoch])
    run = cs.train(recipe, digits, tmp_path / "run")
    image = next((digits / "val" / "2").iterdir())
    bundle: cs.Bundle[cs.Classification] = cs.load(run.bundle)
    assert {label.label for label in bundle.predict(image).top(4)} == {"0", "1", "2", "3"}

    whole = load_file(run.checkpoints / "step-00000006" / "ema.safetensors")
    shutil.rmtree(run.bundle)
    shutil.rmtree(run.checkpoints / "step-00000006")
    cs.train(recipe, digits, tmp_path / "run")
    again = load_file(run.checkpoints / "step-00000006" / "ema.safetensors")
    assert all(torch.equal(again[entry], tensor) for entry, tensor in whole.items())


def test_listing_by_pattern_gives_the_librarys_names() -> None:
    assert cs.list_models("timm/test_conv*") == ["timm/test_convnext", "timm/test_convnext2", "timm/test_convnext3"]
    assert cs.list_models("torchvision/*_resnet50") == ["torchvision/deeplabv3_resnet50", "torchvision/fcn_resnet50"]
    assert not [name for name in cs.list_models() if "/" in name]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet81", {}, "timm has no model `resnet81`; did you mean `resnet18`"),
        ("torchvision/fasterrcnn_resnet50_fpn", {}, "torchvision has no model"),
        (
            "timm/resnet18",
            {"deph": 3},
            "timm cannot build `resnet18` with deph=3: .*unexpected .*'deph'",
        ),
        (
            "torchvision/vgg11",
            {"dropot": 0.1},
            "torchvision cannot build `vgg11` .*unexpected .*'dropot'",
        ),
        ("timm/resnet18", {"pretrained": True}, "Ask for weights: `pretrained`"),
        ("timm/resnet18.nobody_in1k", {}, r"timm knows no weights `resnet18.nobody_in1k`: Invalid pretrained tag"),
        ("timm/botnet50ts_256", {"weights": "pretrained"}, "timm has no weights of `botnet50ts_256`"),
        ("timm/resnet18", {"features_only": True}, "no layer that gives logits"),
        ("torchvision/googlenet", {"aux_logits": True}, "main logits alone"),
        ("hrnet_w18_small_v1", {"weights": "pretrained"}, "no weights of `hrnet_w18_small_v1` are published"),
        ("timm/resnet18", {"weights": "pretrained", "weights_key": "model_ema"}, "weights_key `model_ema` names an"),
    ],
)
def test_what_is_refused_says_why(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(cs.ConvsmithError, match=message):
        on_meta(name, **options)


@pytest.mark.parametrize(("library", "extra"), [("timm", "timm"), ("torchvision", "train")])
def test_a_missing_library_says_what_to_install(library: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(cs.ConvsmithError, match=re.escape(install_command(extra))):
        cs.create_model(f"{library}/resnet18")


def test_timms_weights_without_network_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise ConnectionError("no route to the host")

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(
        cs.ConvsmithError, match=r"no route to the host\n.*pass the path of that file as weights"
    ) as said:
        cs.create_model("timm/resnet18", weights="pretrained")
    assert "get https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors by other" in said.value.fix


def test_torchvisions_weights_without_network_name_file_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError("no route to the host")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(cs.ConvsmithError, match=r"models/vgg11-8a719046\.pth.*no route to the host") as said:
        cs.create_model("torchvision/vgg11", weights="pretrained")
    assert said.value.fix.endswith(f"put it at {tmp_path / 'hub' / 'checkpoints' / 'vgg11-8a719046.pth'}")


def test_a_file_of_another_digest_is_not_taken_for_torchvisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "vgg11-8a719046.pth").write_bytes(b"half of it")
    with pytest.raises(cs.ConvsmithError, match=r"vgg11-8a719046\.pth is not the published file"):
        cs.create_model("torchvision/vgg11", weights="pretrained")


def test_pretrained_weights_are_adapted_to_other_classes_and_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = torchvision.models.shufflenet_v2_x0_5()
    weights = torchvision.models.ShuffleNet_V2_X0_5_Weights
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **options: published.state_dict())
    monkeypatch.setattr(bridge, "download", lambda *_: None)
    model = cs.create_model("torchvision/shufflenet_v2_x0_5", 5, "pretrained", in_channels=1)
    assert model.num_classes == 5
    own = model.state_dict()
    assert torch.equal(own["conv1.0.weight"], published.conv1[0].weight.sum(1, keepdim=True))
    assert torch.equal(own["stage2.0.branch1.0.weight"], published.state_dict()["stage2.0.branch1.0.weight"])


def offline_torchvision(monkeypatch: pytest.MonkeyPatch, **with_weights: Any) -> None:
    """Let torchvision build what it builds with weights by name, but with random ones."""
    build = torchvision.models.get_model

    def without_download(name: str, weights: str | None = None, **options: Any) -> Any:
        return build(name, **{**options, **(with_weights if weights else {})})

    monkeypatch.setattr("torchvision.models.get_model", without_download)
    monkeypatch.setattr(bridge, "download", lambda *_: None)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_checkpoint_of_pretrained_weights_finds_the_same_model(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offline_torchvision(monkeypatch, transform_input=True, init_weights=False)
    with torch.device("meta"):
        models: list[Any] = [cs.create_model(f"torchvision/{name}", 1000, weights) for weights in ("pretrained", None)]
    assert [model.model.transform_input for model in models] == [True, True]


def test_pretrained_segmentation_brings_no_auxiliary_head(monkeypatch: pytest.MonkeyPatch) -> None:
    offline_torchvision(monkeypatch, aux_loss=True, weights_backbone=None)
    models = [cs.create_model("torchvision/fcn_resnet50", 21, weights) for weights in ("pretrained", None)]
    assert models[0].state_dict().keys() == models[1].state_dict().keys()
