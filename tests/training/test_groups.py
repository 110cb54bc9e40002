"""Parameter groups, against those that the official code makes (goldens) and by rule."""

from __future__ import annotations

import json
import logging
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from convsmith.errors import ConvsmithError
from convsmith.models.registry import create_model
from convsmith.recipe.optimization import AdamW, Sgd
from convsmith.training.update.groups import parameter_groups

GOLDEN = json.loads((Path(__file__).parents[1] / "goldens/training/param_groups.json").read_text())


def model_of(name: str, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, **options)


def by_weight_decay(model: nn.Module, optimizer: Sgd | AdamW) -> dict[float, set[str]]:
    return {group.weight_decay: set(group.names) for group in parameter_groups(model, optimizer)}


def assert_same_names(names: set[str], golden: dict[str, Any]) -> None:
    assert len(names) == golden["n"]
    assert set(golden["names"]) <= names


@pytest.mark.parametrize("case", [c for c in GOLDEN["torchvision"]["cases"] if c["in"]["model"] == "resnet50"])
def test_groups_of_torchvision(case: dict[str, Any]) -> None:
    asked, wanted = case["in"], case["out"]["groups_in_order"]
    keys = {key: asked[key] for key in ("weight_decay", "norm_weight_decay", "bias_weight_decay")}
    # groups of equal weight decay are one here
    golden: dict[float, dict[str, Any]] = {}
    for group in wanted:
        known = golden.setdefault(group["weight_decay"], {"n": 0, "names": []})
        known["n"] += group["n"]
        known["names"] += group.get("names", group.get("first_and_last_names"))
    found = by_weight_decay(model_of("resnet50"), Sgd(name="sgd", **keys))
    assert found.keys() == golden.keys()
    for decay, names in found.items():
        assert_same_names(names, golden[decay])


def test_convnext_of_torchvision_decays_layer_scales_and_all_biases_but_the_norms() -> None:
    case = GOLDEN["torchvision"]["cases"][3]
    assert case["in"]["model"] == "convnext_tiny"
    found = by_weight_decay(model_of("convnext_tiny"), AdamW(name="adamw", weight_decay=0.05, norm_weight_decay=0.0))
    assert {decay: len(names) for decay, names in found.items()} == {
        group["weight_decay"]: group["n"] for group in case["out"]["groups_in_order"]
    }
    assert {"stages.0.0.gamma", "head.bias"} <= found[0.05]


def test_resnest_of_torch_goes_by_names() -> None:
    golden = GOLDEN["resnest"]["cases"][0]["out"]["torch_DISABLE_BN_WD"]
    found = by_weight_decay(
        model_of("resnest50"), Sgd(name="sgd", weight_decay=1e-4, weight_decays=(("*bn*", 0), ("*bias*", 0)))
    )
    assert found[0.0] == set(golden["no_decay_names"])
    assert len(found[1e-4]) == golden["decay"]


def test_resnest_of_gluon_decays_neither_norms_nor_biases() -> None:
    golden = GOLDEN["resnest"]["cases"][0]["out"]["gluon_no_wd"]
    found = by_weight_decay(
        model_of("resnest50"), Sgd(name="sgd", weight_decay=1e-4, norm_weight_decay=0, bias_weight_decay=0)
    )
    assert found[1e-4] == set(golden["decay_names"])
    assert len(found[0.0]) == golden["no_decay"]


@pytest.mark.parametrize("case", [c for c in GOLDEN["hrnet"]["cases"] if not c["in"]["name_prefix"]])
def test_the_head_of_hrnet_learns_faster_by_keywords(case: dict[str, Any]) -> None:
    name = {"seg_hrnet_ocr": "hrnet_w48_ocr", "seg_hrnet": "hrnet_w48_seg"}[case["in"]["model"]]
    rules = tuple((f"*{keyword}*", 10.0) for keyword in case["in"]["keywords"])
    groups = parameter_groups(model_of(name), Sgd(name="sgd", lr_scales=rules))
    sizes = {group.lr_scale: len(group.names) for group in groups}
    assert sizes.pop(1.0) == case["out"]["backbone"]
    assert sizes == ({10.0: case["out"]["nonbackbone"]} if rules else {})
    fast = {name for group in groups if group.lr_scale == 10 for name in group.names}
    assert fast == set(case["out"].get("nonbackbone_names", ()))


@pytest.fixture(scope="module")
def layer_decay(test_data: Path) -> dict[str, Any]:
    golden: dict[str, Any] = json.loads((test_data / "goldens/training/layer_decay.json").read_text())
    return golden


@pytest.mark.parametrize("number", range(5))
def test_layers_of_convnext_learn_more_slowly_the_deeper_they_lie(layer_decay: dict[str, Any], number: int) -> None:
    case = layer_decay["cases"][number]
    asked = {key: case["in"][key] for key in ("layer_decay", "weight_decay")}
    groups = parameter_groups(model_of(case["in"]["model"]), AdamW(name="adamw", vector_weight_decay=0, **asked))
    found = {name: [group.lr_scale, group.weight_decay > 0] for group in groups for name in group.names}
    assert found == {
        name: [pytest.approx(scale, rel=1e-12), decays] for name, (_, scale, decays) in case["out"]["params"].items()
    }
    assert [(pytest.approx(g.lr_scale, rel=1e-12), g.weight_decay, len(g.names)) for g in groups] == [
        (group["lr_scale"], group["weight_decay"], group["n_tensors"]) for group in case["out"]["groups_in_order"]
    ]


def test_layers_of_a_convnext_for_detection_are_the_same_with_twelve_layers(layer_decay: dict[str, Any]) -> None:
    case = layer_decay["downstream"][2]
    assert (case["in"]["decay_type"], case["in"]["num_layers"]) == ("layer_wise", 12)
    wanted = {
        name.removeprefix("backbone."): [pytest.approx(scale, rel=1e-12), decays]
        for name, (_, scale, decays) in case["out"]["params"].items()
        if name.startswith("backbone.")
    }
    optimizer = AdamW(name="adamw", layer_decay=case["in"]["decay_rate"], vector_weight_decay=0)
    groups = parameter_groups(model_of(case["in"]["model"]), optimizer)
    found = {name: [group.lr_scale, group.weight_decay > 0] for group in groups for name in group.names}
    assert {name: found[name] for name in wanted} == wanted


def test_factors_by_name_and_by_depth_multiply() -> None:
    optimizer = AdamW(name="adamw", layer_decay=0.5, lr_scales=(("conv1.*", 10.0), ("*", 2.0)))
    scale = {
        n: g.lr_scale for g in parameter_groups(model_of("cifar_resnet20", num_classes=3), optimizer) for n in g.names
    }
    assert scale["linear.weight"] == 2.0
    assert scale["layer3.2.conv2.weight"] == 1.0


def test_a_name_goes_before_every_other_rule_and_the_first_that_fits_counts() -> None:
    optimizer = Sgd(
        name="sgd", weight_decay=1e-4, bias_weight_decay=1, norm_weight_decay=2, vector_weight_decay=3,
        weight_decays=(("bn1.*", 0.5), ("bn?.bias", 0.25)),
    )  # fmt: skip
    found = by_weight_decay(model_of("resnet18"), optimizer)
    assert found[0.5] == {"bn1.weight", "bn1.bias"}
    assert all(fnmatchcase(name, "*bias") for name in found[1])
    assert "layer1.0.bn1.weight" in found[2]
    assert set(found) == {0.5, 1, 2, 1e-4}


def test_without_special_rules_one_group_holds_every_parameter() -> None:
    model = model_of("cifar_resnet20")
    (group,) = parameter_groups(model, Sgd(name="sgd", weight_decay=1e-4))
    assert group.names == tuple(name for name, _ in model.named_parameters())
    assert (group.weight_decay, group.lr_scale) == (1e-4, 1.0)


def test_parameters_that_never_learn_are_in_no_group() -> None:
    model = model_of("cifar_resnet20")
    model.get_submodule("conv1").requires_grad_(False)
    (group,) = parameter_groups(model, Sgd(name="sgd"))
    assert "conv1.weight" not in group.names


@pytest.mark.parametrize("key", ["lr_scales", "weight_decays"])
def test_a_pattern_that_fits_no_parameter_is_an_error(key: str) -> None:
    message = rf"optimizer\.{key}: no parameter of the model is called `linaer\.bias`; did you mean `linear\.bias`\?"
    with pytest.raises(ConvsmithError, match=message):
        parameter_groups(model_of("cifar_resnet20"), Sgd.model_validate({"name": "sgd", key: (("linaer.bias", 10.0),)}))


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("cifar_resnet20", "`linear.*`"),
        ("resnet18", "`fc.*`"),
        ("resnest50", "`fc.*`"),
        ("mobilenet_v2", "`classifier.1.*`"),
        ("convnext_tiny", "`head.*`"),
        ("convnext_isotropic_small", "`head.*`"),
        ("hrnet_w18", "`classifier.*`"),
        ("hrnet_w18_seg", "`last_layer.3.*`"),
        ("hrnet_w18_ocr", "`aux_head.3.*` and `cls_head.*`"),
        ("resnet18_fcn", "`auxiliary_head.conv_seg.*` and `decode_head.conv_seg.*`"),
        ("resnet18_upernet", "`auxiliary_head.conv_seg.*` and `decode_head.conv_seg.*`"),
        ("torchvision/resnet18", "`model.fc.*`"),
        ("torchvision/fcn_resnet50", "`model.classifier.4.*`"),
        ("timm/test_convnext", "`model.head.fc.*`"),
        ("timm/test_vit", "`model.head.*`"),
    ],
)
def test_a_pattern_that_fits_no_parameter_names_the_head(name: str, head: str) -> None:
    model = model_of(name)
    with pytest.raises(ConvsmithError, match=r"called `nothing\.\*`") as refused:
        parameter_groups(model, Sgd(name="sgd", lr_scales=(("nothing.*", 10.0),)))
    assert f"The head of this model is {head};" in refused.value.fix
    for pattern in head.replace("`", "").split(" and "):
        parameter_groups(model, Sgd(name="sgd", lr_scales=((pattern, 10.0),)))


def test_a_pattern_may_fit_frozen_parameters_only() -> None:
    model = model_of("cifar_resnet20")
    model.get_submodule("conv1").requires_grad_(False)
    (group,) = parameter_groups(model, Sgd(name="sgd", lr_scales=(("conv1.*", 10.0),)))
    assert group.lr_scale == 1.0


def test_a_weight_decay_that_would_move_for_no_parameter_is_said(caplog: pytest.LogCaptureFixture) -> None:
    optimizer = Sgd(name="sgd", weight_decay=1e-4, weight_decay_end=1e-2, weight_decays=(("*", 0.5),))
    with caplog.at_level(logging.WARNING):
        parameter_groups(model_of("cifar_resnet20"), optimizer)
    assert "weight_decay_end moves nothing" in caplog.text
