from __future__ import annotations

import argparse
import logging
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.models.registry import create_model
from convsmith.models.weights import load_weights


def state_dict() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return create_model("cifar_resnet20").state_dict()


def assert_loads(path: Path, key: str = "auto") -> None:
    model = create_model("cifar_resnet20")
    report = load_weights(model, path, key)
    expected = state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert set(report.loaded) == set(expected)


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


def test_a_training_checkpoint_with_its_options_loads(tmp_path: Path) -> None:
    content = {"model": state_dict(), "epoch": 3, "args": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "training.pth")
    assert_loads(tmp_path / "training.pth")


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
    assert f"is a classifier's: its {len(report.dropped)} entries that only classify are left out" in caplog.text
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key] if key.split(".")[0] in head else hrnet_classifier[key])


def test_a_backbone_with_a_hole_in_it_is_an_error(hrnet_classifier: dict[str, Tensor]) -> None:
    hole = {k: v for k, v in hrnet_classifier.items() if k != "stage3.0.branches.0.0.conv1.weight"}
    with pytest.raises(ConvsmithError, match=r"stage3\.0\.branches"):
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
    with pytest.raises(ConvsmithError, match="would have to execute"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "evil.pth")
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ConvsmithError):
        load_weights(create_model("cifar_resnet20"), tmp_path / "bare.pkl")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["bad.pth", "bad.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 torn", b"\xff" * 100])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConvsmithError, match=name):
        load_weights(create_model("cifar_resnet20"), tmp_path / name)


def test_a_file_without_a_state_dict_is_an_error(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(ConvsmithError, match="no state dict was found"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "epoch.pth")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="there is no checkpoint file"):
        load_weights(create_model("cifar_resnet20"), tmp_path / "none.pth")
