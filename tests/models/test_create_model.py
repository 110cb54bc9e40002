from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm  # noqa: F401  # whose layers are made of torch's, which a test takes away
import torch
from torch import nn

from convsmith.errors import ConvsmithError
from convsmith.models import registry
from convsmith.models.base import SegmentationModel
from convsmith.models.facts import list_facts
from convsmith.models.registry import backbone_of, create_model, create_trained_model, list_models
from tests.models.every import DECODED, SMALLEST
from tests.models.structures import FILE, structure

# Those of which a smaller one has the same parts.
ALIKE = DECODED - SMALLEST | {f"hrnet_w{width}" for width in (30, 32, 40, 44, 48, 64)}
HRNET = ("incre_modules.", "downsamp_modules.", "final_layer.", "classifier.")


def test_list_models_filters_by_pattern() -> None:
    assert list_models("cifar_resnet?6") == ["cifar_resnet56"]


@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=[pytest.mark.slow] if it in ALIKE else []) for it in list_models()],
)
def test_every_model_is_made_for_the_wanted_number_of_classes_with_the_layers_that_it_always_had(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=7)
    assert model.num_classes == 7
    assert structure(model) == json.loads(FILE.read_text())[name], "is it meant? `python -m tests.models.structures`"
    facts = list_facts(name)[name]
    if facts.task == "classification":  # all but its head is as large as that of the one with the usual classes
        head = sum(p.numel() for layer in model.heads for p in model.get_submodule(layer).parameters())
        usual = 10 if name.startswith("cifar") else 1000
        assert sum(p.numel() for p in model.parameters()) - head + head // 7 * usual == facts.params


@pytest.mark.parametrize(
    "name",
    [pytest.param(it, marks=[] if it in SMALLEST else [pytest.mark.slow]) for it in list_models()],
)
def test_every_model_maps_images_to_the_wanted_number_of_logits(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=7)
        output = model(torch.empty(2, 3, 64, 64))
    ndim = 4 if isinstance(model, SegmentationModel) else 2
    for logits in output if isinstance(output, list) else [output]:
        assert (logits.ndim, *logits.shape[:2]) == (ndim, 2, 7)


def test_segmentation_models_have_a_classifier_as_backbone() -> None:
    backbones = {name: backbone for name in list_models() if (backbone := backbone_of(name))}
    assert list(backbones) == [name for name, facts in list_facts().items() if facts.task == "segmentation"]
    for name in sorted(backbones.keys() & {*SMALLEST, "hrnet_w18_seg"}):
        with torch.device("meta"):
            model, classifier = create_model(name), create_model(backbones[name])
        shared = {key.removeprefix("backbone.") for key in model.state_dict()} & classifier.state_dict().keys()
        assert len(shared) > 0.75 * len(classifier.state_dict())
        assert all(key.startswith(("fc.", "head.", "norm.", *HRNET)) for key in classifier.state_dict().keys() - shared)


def test_zero_init_residual_makes_every_block_start_as_the_identity() -> None:
    model = create_model("resnet50", zero_init_residual=True)
    last = [module for name, module in model.named_modules() if name.endswith("bn3")]
    assert len(last) == 16
    assert all(not norm.weight.any() for norm in last)


def test_an_unknown_model_says_what_was_meant() -> None:
    with pytest.raises(ConvsmithError, match="did you mean `resnet50`"):
        create_model("resnet_50")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("deeplabv3_resnet50", "`torchvision/deeplabv3_resnet50`?"),
        ("efficientnet_b0", "`timm/efficientnet_b0` or `torchvision/efficientnet_b0`?"),
        ("EfficientNet-B0", "`timm/efficientnet_b0` or `torchvision/efficientnet_b0`?"),
        ("ResNet50", "`resnet50`?"),
    ],
)
def test_a_model_of_another_library_is_meant_by_its_name_alone(name: str, meant: str) -> None:
    with pytest.raises(ConvsmithError, match=re.escape(f"unknown model `{name}`; did you mean {meant}\n")):
        create_model(name)


def test_an_unknown_option_says_what_was_meant_and_lists_the_options() -> None:
    with pytest.raises(ConvsmithError, match=r"did you mean `zero_init_residual`.*\n.*in_channels"):
        create_model("resnet50", zero_init_residal=True)


def test_options_that_exclude_one_another_name_the_reason() -> None:
    with pytest.raises(ConvsmithError, match="ResNet-18 and -34 have none"):
        create_model("resnet18", groups=32)


def test_an_option_of_another_type_names_the_reason() -> None:
    with pytest.raises(ConvsmithError, match=r"`mobilenet_v2` cannot be built with width_mult='wide': .*'str'"):
        create_model("mobilenet_v2", width_mult="wide")


@pytest.mark.parametrize("name", ["cifar_resnet20", "timm/test_resnet"])
def test_running_out_of_memory_is_not_taken_for_a_wrong_option(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError("no memory left")

    monkeypatch.setattr(nn, "Conv2d", full)
    with pytest.raises(torch.OutOfMemoryError):
        create_model(name)


@pytest.mark.parametrize("name", [None, 18])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(ConvsmithError, match=f"name is a text, not {name}"):
        create_model(name)


@pytest.mark.parametrize("name", ["cifar_resnet20", "timm/test_resnet"])
def test_weights_are_a_name_a_path_or_a_state_dict(name: str) -> None:
    wrong: Any = True
    with pytest.raises(ConvsmithError, match="a name, a path or a state dict, not True"):
        create_model(name, weights=wrong)


@pytest.mark.parametrize("name", ["cifar_resnet20", "timm/test_resnet"])
def test_the_weights_key_names_the_entry_of_the_checkpoint(name: str, tmp_path: Path) -> None:
    current, average = (create_model(name).state_dict() for _ in range(2))
    torch.save({"model": current, "average": average}, tmp_path / "two.pth")
    model = create_model(name, weights=tmp_path / "two.pth", weights_key="average")
    assert all(torch.equal(value, average[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        *((name, option, 0) for name in ("resnet18", "timm/test_resnet") for option in ("num_classes", "in_channels")),
        ("timm/test_resnet", "num_classes", -2),
        ("timm/test_resnet", "in_chans", 0),
        ("resnet18", "num_classes", 2.5),
        ("resnet18", "num_classes", True),
        ("resnet50", "groups", 0),
        ("resnet50", "width_per_group", 0),
        ("resnest50", "stem_width", 0),
        ("resnest50", "cardinality", -1),
    ],
)
def test_counts_are_whole_and_positive(name: str, option: str, value: Any) -> None:
    with pytest.raises(ConvsmithError, match=f"{option} is a whole number of at least 1, not {value}"):
        create_model(name, **{option: value})


@pytest.mark.parametrize("name", ["cifar_resnet20", "timm/test_resnet", "torchvision/squeezenet1_1"])
@pytest.mark.parametrize("classes", [0, -1])
def test_a_new_head_has_one_class_at_least(name: str, classes: int) -> None:
    with torch.device("meta"):
        model = create_model(name)
    before = model.num_classes
    with pytest.raises(ConvsmithError, match=f"num_classes is a whole number of at least 1, not {classes}"):
        model.reset_head(classes)
    assert model.num_classes == before


def test_published_weights_shape_a_model_where_nothing_else_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "resolve", lambda *_: None)
    monkeypatch.setattr(registry, "load_weights", lambda *_: None)
    with torch.device("meta"):
        assert create_model("convnext_tiny", weights="convnext_tiny.fb_in22k").num_classes == 21841
        assert create_model("convnext_tiny", 4, weights="convnext_tiny.fb_in22k").num_classes == 4


def test_published_weights_shape_a_trained_model_and_have_its_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "published.pth"
    torch.save(create_model("convnext_tiny", weights=None, num_classes=21841).state_dict(), file)
    monkeypatch.setattr(registry, "resolve", lambda *_: file)
    assert create_trained_model("convnext_tiny", 21841, "convnext_tiny.fb_in22k").num_classes == 21841
    with pytest.raises(
        ConvsmithError, match=r"`convnext_tiny\.fb_in22k` gives `convnext_tiny` no head for num_classes=4"
    ):
        create_trained_model("convnext_tiny", 4, "convnext_tiny.fb_in22k")


def test_another_librarys_weights_are_no_head_of_other_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    thousand = create_model("torchvision/squeezenet1_1")
    monkeypatch.setattr(registry, "build_bridged", lambda *_: thousand)
    assert create_trained_model("torchvision/squeezenet1_1", 1000, "pretrained") is thousand
    with pytest.raises(ConvsmithError, match="no head for num_classes=4"):
        create_trained_model("torchvision/squeezenet1_1", 4, "pretrained")
