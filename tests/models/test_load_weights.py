from __future__ import annotations

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


@pytest.mark.parametrize("entry", ["state_dict", "model"])
def test_the_usual_entries_are_found(tmp_path: Path, entry: str) -> None:
    torch.save({entry: state_dict(), "epoch": 3}, tmp_path / "entry.pth")
    assert_loads(tmp_path / "entry.pth")


def test_another_entry_is_named_by_key(tmp_path: Path) -> None:
    other = {key: torch.zeros_like(value) for key, value in state_dict().items()}
    torch.save({"model": other, "model_ema": state_dict()}, tmp_path / "ema.pth")
    assert_loads(tmp_path / "ema.pth", key="model_ema")


def test_prefixes_of_wrappers_are_removed(tmp_path: Path) -> None:
    torch.save({"state_dict": {f"module.{k}": v for k, v in state_dict().items()}}, tmp_path / "ddp.pth")
    assert_loads(tmp_path / "ddp.pth")


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
