from __future__ import annotations

import argparse
import logging
import pickle
import re
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.models.registry import create_model
from convsmith.models.weights.load import load_weights


def state_dict() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return create_model("cifar_resnet20").state_dict()


def assert_loads(path: Path, key: str = "auto") -> None:
    model = create_model("cifar_resnet20")
    report = load_weights(model, path, key)
    expected = state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert set(report.loaded) == set(expected)


def assert_refused(source: Any, match: str, key: str = "auto") -> None:
    """One clear error that passes on nothing of torch's own advice."""
    with pytest.raises(ConvsmithError, match=match) as caught:
        load_weights(create_model("cifar_resnet20"), source, key)
    assert "weights_only" not in str(caught.value)


def test_a_plain_state_dict_loads(tmp_path: Path) -> None:
    torch.save(state_dict(), tmp_path / "plain.pth")
    assert_loads(tmp_path / "plain.pth")


@pytest.mark.parametrize("entry", ["state_dict", "model", "model_ema"])
def test_the_usual_entries_are_found(tmp_path: Path, entry: str) -> None:
    torch.save({entry: state_dict(), "epoch": 3}, tmp_path / "entry.pth")
    assert_loads(tmp_path / "entry.pth")


def test_another_entry_is_named_by_key(tmp_path: Path) -> None:
    other = {key: torch.zeros_like(value) for key, value in state_dict().items()}
    torch.save({"model": other, "model_ema": state_dict()}, tmp_path / "ema.pth")
    assert_loads(tmp_path / "ema.pth", key="model_ema")


def test_a_mapping_is_searched_like_a_file() -> None:
    zeros = {key: torch.zeros_like(value) for key, value in state_dict().items()}
    content = {"model": zeros, "model_ema": state_dict()}
    for key, expected in (("auto", zeros), ("model_ema", state_dict())):
        model = create_model("cifar_resnet20")
        load_weights(model, content, key)
        assert torch.equal(model.state_dict()["conv1.weight"], expected["conv1.weight"])
    assert_refused(state_dict(), "has no entry `model_ema`", key="model_ema")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "_orig_mod.module.", "module._orig_mod.model."])
def test_prefixes_of_wrappers_are_removed(tmp_path: Path, prefix: str) -> None:
    torch.save({"state_dict": {f"{prefix}{k}": v for k, v in state_dict().items()}}, tmp_path / "ddp.pth")
    assert_loads(tmp_path / "ddp.pth")


@pytest.mark.parametrize(
    ("prefix", "beside"),
    [("model.", {"loss.criterion.weight": torch.ones(19)}), ("module.", {"n_averaged": torch.tensor(3)})],
)
def test_what_wrappers_save_beside_the_model_is_left_aside(prefix: str, beside: dict[str, Tensor]) -> None:
    wrapped = {f"{prefix}{k}": v for k, v in state_dict().items()} | beside
    assert load_weights(create_model("cifar_resnet20"), wrapped).unexpected == ()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_training_checkpoint_with_its_options_paths_and_numpy_values_loads(tmp_path: Path, zipped: bool) -> None:
    content = {
        "model": state_dict(),
        "epoch": np.int64(3),
        "best_mIoU": np.float64(0.5),
        "curve": np.arange(3.0),
        "args": argparse.Namespace(lr=0.1, out=tmp_path, data=PureWindowsPath("data")),
    }
    torch.save(content, tmp_path / "training.pth", _use_new_zipfile_serialization=zipped)
    assert_loads(tmp_path / "training.pth")


def test_what_is_saved_beside_the_weights_is_not_even_built(tmp_path: Path) -> None:
    torch.save({"model": state_dict(), "out": Path("a"), "curve": np.arange(3.0)}, tmp_path / "training.pth")
    assert_refused(tmp_path / "training.pth", "no state dict was found", key="out")
    assert_refused(tmp_path / "training.pth", "no state dict was found", key="curve")


def test_a_file_in_the_format_before_torch_1_6_loads(tmp_path: Path) -> None:
    torch.save(state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_loads(tmp_path / "old.pth")


def test_a_safetensors_file_loads(tmp_path: Path) -> None:
    save_file(state_dict(), tmp_path / "model.safetensors")
    assert_loads(tmp_path / "model.safetensors")


def test_a_key_for_a_safetensors_file_is_an_error(tmp_path: Path) -> None:
    save_file(state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ConvsmithError, match=r"model\.safetensors has no entry `model_ema`"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "model.safetensors", key="model_ema")


def test_counters_that_old_files_lack_are_not_missed() -> None:
    old = {key: value for key, value in state_dict().items() if not key.endswith("num_batches_tracked")}
    assert load_weights(create_model("cifar_resnet20"), old).missing == ()


def test_a_head_for_other_classes_is_dropped_with_a_line_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = create_model("cifar_resnet20", num_classes=3)
    with caplog.at_level(logging.WARNING):
        report = load_weights(model, state_dict())
    assert report.dropped == ("linear.bias", "linear.weight")
    assert "for 10 classes, the model has 3" in caplog.text
    assert torch.equal(model.state_dict()["conv1.weight"], state_dict()["conv1.weight"])


def test_a_first_convolution_for_rgb_is_summed_for_one_channel(caplog: pytest.LogCaptureFixture) -> None:
    model = create_model("cifar_resnet20", in_channels=1)
    report = load_weights(model, state_dict())
    assert report.reshaped == ("conv1.weight",)
    assert "conv1.weight is for 3 channels, the model has 1; it was summed" in caplog.text
    assert report.missing == report.unexpected == report.dropped == ()
    original = create_model("cifar_resnet20").eval()
    load_weights(original, state_dict())
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(model.eval()(grey), original(grey.expand(-1, 3, -1, -1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("channels", [2, 4, 13])
def test_a_first_convolution_for_rgb_is_repeated_and_scaled_for_other_channels(
    channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    model = create_model("cifar_resnet20", in_channels=channels)
    assert load_weights(model, state_dict()).reshaped == ("conv1.weight",)
    weight, given = model.state_dict()["conv1.weight"], state_dict()["conv1.weight"]
    for i in range(channels):
        assert torch.equal(weight[:, i], given[:, i % 3] * (3 / channels))
    assert f"the model has {channels}; it was repeated and scaled by 3/{channels}" in caplog.text


def test_timm_adapts_the_first_convolution_in_the_same_way() -> None:
    adapt = pytest.importorskip("timm.models").adapt_input_conv
    for channels in (1, 2, 5):
        model = create_model("cifar_resnet20", in_channels=channels)
        load_weights(model, state_dict())
        torch.testing.assert_close(model.state_dict()["conv1.weight"], adapt(channels, state_dict()["conv1.weight"]))


def test_a_file_for_other_channels_than_rgb_is_not_guessed_at() -> None:
    four = create_model("cifar_resnet20", in_channels=4).state_dict()
    with pytest.raises(ConvsmithError, match=r"conv1.weight: \[16, 4, 3, 3\] in the file, \[16, 3, 3, 3\]"):
        load_weights(create_model("cifar_resnet20"), four)


def test_a_layer_scale_of_three_dimensions_is_reported_as_reshaped() -> None:
    model = create_model("convnext_isotropic_small", layer_scale_init_value=1.0)
    state = {k: v[:, None, None] * 2 if k.endswith("gamma") else v for k, v in model.state_dict().items()}
    report = load_weights(model, state)
    assert report.reshaped == tuple(sorted(k for k in state if k.endswith("gamma")))
    assert torch.equal(model.state_dict()["blocks.3.gamma"], torch.full((384,), 2.0))


HRNET_CLASSIFIER = ("incre_modules", "downsamp_modules", "final_layer", "classifier")


@pytest.fixture(scope="module")
def hrnet_classifier() -> dict[str, Tensor]:
    return create_model("hrnet_w18").state_dict()


@pytest.mark.parametrize(
    ("name", "head"), [("hrnet_w18_seg", {"last_layer"}),
                       ("hrnet_w18_ocr", {"conv3x3_ocr", "ocr_distri_head", "cls_head", "aux_head"})],
)  # fmt: skip
def test_an_hrnet_classifier_gives_segmentation_models_their_backbone(
    name: str, head: set[str], hrnet_classifier: dict[str, Tensor], caplog: pytest.LogCaptureFixture
) -> None:
    model = create_model(name)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    report = load_weights(model, hrnet_classifier)
    assert {k.split(".")[0] for k in report.missing} == head
    assert set(report.dropped) == {k for k in hrnet_classifier if k.startswith(HRNET_CLASSIFIER)}
    assert report.unexpected == ()
    assert f"its {len(report.dropped)} entries that only classify are left out" in caplog.text
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key.split(".")[0] in head else hrnet_classifier[key])


def test_the_backbone_alone_does_as_well(hrnet_classifier: dict[str, Tensor]) -> None:
    model = create_model("hrnet_w18_seg")
    backbone = {k: v for k, v in hrnet_classifier.items() if not k.startswith(HRNET_CLASSIFIER)}
    report = load_weights(model, backbone)
    assert {k.split(".")[0] for k in report.missing} == {"last_layer"}
    assert (report.dropped, report.unexpected) == ((), ())
    loaded = model.state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in backbone.items())


@pytest.mark.parametrize(
    ("name", "classifier", "only_there"),
    [
        ("resnet18_fcn", "resnet18", {"fc"}),
        ("resnet18_upernet", "resnet18", {"fc"}),
        ("convnext_tiny_upernet", "convnext_tiny", {"norm", "head"}),
        ("convnext_tiny_upernet", "timm/convnext_tiny", {"norm", "head"}),
        ("convnext_tiny_upernet", "torchvision/convnext_tiny", {"norm", "head"}),
        ("resnest50_upernet", "resnest50", {"fc"}),
    ],
)
def test_a_classifier_gives_models_with_a_decode_head_their_backbone(
    name: str, classifier: str, only_there: set[str]
) -> None:
    with torch.device("meta"):
        model, known = create_model(name, in_channels=4), create_model(classifier)
    state = {k: torch.full(v.shape, float(i)) for i, (k, v) in enumerate(known.state_dict().items())}
    model.to_empty(device="cpu")
    report = load_weights(model, state)
    added = re.compile(r"(decode_head|auxiliary_head|backbone\.norm\d)\.")
    assert set(report.missing) == {k for k in model.state_dict() if added.match(k) and "num_batches" not in k}
    assert {k.split(".")[0] for k in report.dropped} == only_there
    assert (report.unexpected, model.input_layer + ".weight" in report.reshaped) == ((), True)
    first_values = {v.flatten()[0].item() for k, v in model.state_dict().items() if k in report.loaded}
    assert len(first_values) == len(state) - len(report.dropped)


def test_a_checkpoint_of_an_official_segmentation_training_loads() -> None:
    expected = create_model("resnet18_fcn", num_classes=19).state_dict()
    checkpoint = {"meta": {"epoch": 1, "CLASSES": ("road",)}, "state_dict": expected, "optimizer": {"state": {}}}
    model = create_model("resnet18_fcn", num_classes=5)
    report = load_weights(model, checkpoint)
    assert {k.rpartition(".")[0] for k in report.dropped} == set(model.heads)
    assert report.missing == report.unexpected == ()
    assert all(torch.equal(v, expected[k]) for k, v in model.state_dict().items() if k not in report.dropped)


@pytest.mark.parametrize("wrong", ["resnet50", "mobilenet_v2", "hrnet_w18"])
def test_another_classifier_gives_a_model_with_a_decode_head_nothing(wrong: str) -> None:
    model = create_model("resnet18_fcn")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ConvsmithError, match="does not fit this FCN"):
        load_weights(model, create_model(wrong).state_dict())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("left_out", ["stage3.0.branches.0.0.conv1.weight", "stage4."])
def test_a_backbone_with_a_hole_in_it_is_an_error(left_out: str, hrnet_classifier: dict[str, Tensor]) -> None:
    hole = {k: v for k, v in hrnet_classifier.items() if not k.startswith(left_out)}
    with pytest.raises(ConvsmithError, match=re.escape(left_out)):
        load_weights(create_model("hrnet_w18_seg"), hole)


def test_a_segmentation_head_with_a_hole_in_it_is_an_error() -> None:
    hole = create_model("hrnet_w18_seg").state_dict()
    del hole["last_layer.0.weight"]
    with pytest.raises(ConvsmithError, match=r"1 names are missing \(last_layer\.0\.weight\)"):
        load_weights(create_model("hrnet_w18_seg"), hole)


def test_the_backbone_of_another_width_is_an_error(hrnet_classifier: dict[str, Tensor]) -> None:
    with pytest.raises(ConvsmithError, match=r"another shape"):
        load_weights(create_model("hrnet_w48_seg"), hrnet_classifier)


def test_missing_and_unexpected_names_are_an_error_unless_not_strict() -> None:
    wrong = state_dict()
    wrong["layer9.weight"] = wrong.pop("conv1.weight")
    model = create_model("cifar_resnet20")
    with pytest.raises(ConvsmithError, match=r"missing \(conv1.weight\), 1 unexpected \(layer9.weight\)"):
        load_weights(model, wrong)
    report = load_weights(model, wrong, strict=False)
    assert (report.missing, report.unexpected) == (("conv1.weight",), ("layer9.weight",))


def test_a_file_of_another_model_names_the_first_shape_that_differs() -> None:
    with pytest.raises(
        ConvsmithError, match=r"conv1.weight: \[64, 3, 7, 7\] in the file, \[16, 3, 3, 3\] in the model"
    ):
        load_weights(create_model("cifar_resnet20"), create_model("resnet18").state_dict())


def test_a_file_that_would_execute_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "executed",)  # type: ignore[return-value]

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    assert_refused(tmp_path / "evil.pth", "it holds the Python object `getattr`, which loading would have to execute")
    torch.save({"state_dict": Evil()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_refused(tmp_path / "old.pth", "it holds the Python object `getattr`, which loading would have to execute")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Evil()))
    assert_refused(tmp_path / "bare.pkl", "bare.pkl is not a readable checkpoint")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"not a checkpoint", ""),
        (b"PK\x03\x04 torn", "it is cut off"),
        (b"\xff" * 100, ""),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert_refused(tmp_path / name, f"{name} is not a readable checkpoint: {reason}")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_is_cut_off_says_so(tmp_path: Path, zipped: bool) -> None:
    torch.save(state_dict(), tmp_path / "cut.pth", _use_new_zipfile_serialization=zipped)
    content = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(content[: len(content) // 2])
    assert_refused(tmp_path / "cut.pth", "it is cut off or damaged\nGet it again")


def test_a_file_with_a_damaged_table_of_contents_says_so(tmp_path: Path) -> None:
    torch.save(state_dict(), tmp_path / "table.pth")
    content = (tmp_path / "table.pth").read_bytes()
    (tmp_path / "table.pth").write_bytes(content.replace(b"/data.pkl", b"/\xffata.pkl"))
    assert_refused(tmp_path / "table.pth", "it is cut off or damaged")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_program_is_refused(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1, 1)), tmp_path / "program.pt")  # type: ignore[no-untyped-call]
    assert_refused(tmp_path / "program.pt", "it is a TorchScript program")


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (torch.zeros(16, 3, 3, 3).to_sparse(), "is a sparse tensor"),
        (torch.quantize_per_tensor(torch.zeros(16, 3, 3, 3), 0.1, 0, torch.qint8), "is quantized"),
        (torch.zeros(16, 3, 3, 3, device="meta"), "is on the meta device"),
        (torch.zeros(16, 3, 3, 3, dtype=torch.complex64), "is complex"),
    ],
)
def test_tensors_without_plain_values_are_refused(tmp_path: Path, odd: Tensor, reason: str) -> None:
    state = state_dict() | {"conv1.weight": odd}
    torch.save(state, tmp_path / "odd.pth")
    for source in (state, tmp_path / "odd.pth"):
        assert_refused(source, f"its entry `conv1.weight` {reason}")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({0: torch.zeros(1)}, "its entry `0` is not named by a string"),
        (state_dict() | {"conv1.weight": np.zeros(3)}, "its entry `conv1.weight` is not a tensor but a ndarray"),
        ({"linear.weight": 3}, "no state dict was found"),
        ({}, "no state dict was found"),
        (None, "a NoneType is neither a checkpoint file nor a state dict"),
        (torch.nn.Linear(1, 1), "a Linear is neither a checkpoint file nor a state dict\nPass its `state_dict"),
    ],
)
def test_what_is_no_state_dict_is_refused(source: Any, reason: str) -> None:
    assert_refused(source, reason)


@pytest.mark.parametrize("odd", [torch.tensor(1.0), torch.zeros(64, 10), torch.zeros(10, 32)])
def test_a_head_that_differs_in_more_than_its_classes_is_an_error(odd: Tensor) -> None:
    assert_refused(state_dict() | {"linear.weight": odd}, r"another shape, the first is linear\.weight")


def test_a_file_without_a_state_dict_is_an_error(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(ConvsmithError, match="no state dict was found"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "epoch.pth")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="there is no checkpoint file"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "none.pth")
