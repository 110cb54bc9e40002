"""Checkpoints as other training code writes them: what lies around, beside and in place of a model's tensors."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from convsmith.errors import ConvsmithError
from convsmith.models.base import VisionModel
from convsmith.models.registry import create_model, create_trained_model
from convsmith.models.weights.load import LoadReport, load_weights

State = dict[str, Tensor]
OPTIMIZER = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}


def small() -> VisionModel:
    return create_model("cifar_resnet20")


@pytest.fixture(scope="module")
def whole() -> State:
    torch.manual_seed(1)
    return small().state_dict()


@pytest.fixture(scope="module")
def body(whole: State) -> State:
    return {name: value for name, value in whole.items() if not name.startswith("linear.")}


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def head(path: str, state: State) -> State:
    return {f"{path}.{name}": state[f"linear.{name}"] for name in ("weight", "bias")}


def others(state: State) -> State:
    return {name: value + 1 for name, value in state.items()}


def load(content: Any, tmp_path: Path, key: str = "auto") -> tuple[State, LoadReport]:
    torch.save(content, tmp_path / "file.pth")
    model = small()
    report = load_weights(model, tmp_path / "file.pth", key)
    return model.state_dict(), report


def assert_equal(loaded: State, expected: State) -> None:
    assert [name for name, value in expected.items() if not torch.equal(loaded[name], value)] == []


PREFIXES = ["backbone.", "net.", "encoder.", "student.", "network.", "module.encoder.", "model.backbone.net."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_whatever_is_wrapped_around_a_classifier_is_taken_off(prefix: str, whole: State, tmp_path: Path) -> None:
    loaded, report = load({"state_dict": under(prefix, whole)}, tmp_path)
    assert_equal(loaded, whole)
    assert (report.missing, report.unexpected, report.dropped) == ((), (), ())


def test_the_same_is_true_of_a_safetensors_file(whole: State, tmp_path: Path) -> None:
    save_file(under("model.backbone.", whole), tmp_path / "model.safetensors")
    model = small()
    load_weights(model, tmp_path / "model.safetensors")
    assert_equal(model.state_dict(), whole)


@pytest.mark.parametrize("path", ["linear.1", "head.fc", "fc", "classifier.2", "cls_head"])
def test_the_only_layer_of_logits_is_the_head_whatever_its_name(
    path: str, whole: State, body: State, tmp_path: Path
) -> None:
    loaded, report = load(under("module.", {**body, **head(path, whole)}), tmp_path)
    assert_equal(loaded, whole)
    assert (report.missing, report.dropped) == ((), ())


@pytest.mark.parametrize("path", ["head.fc", "fc", "classifier", "linear"])
def test_a_head_beside_its_backbone_is_found(path: str, whole: State, body: State, tmp_path: Path) -> None:
    loaded, _ = load({"state_dict": {**under("backbone.", body), **head(path, whole)}}, tmp_path)
    assert_equal(loaded, whole)


def test_a_file_without_a_head_gives_a_new_one_and_the_log_says_so(
    body: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded, report = load(body, tmp_path)
    assert_equal(loaded, body)
    assert report.missing == ("linear.weight", "linear.bias")
    assert "there is no head for this model; the model keeps its own head (linear.weight, linear.bias)" in caplog.text


def test_a_file_without_a_head_is_no_trained_model(body: State, tmp_path: Path) -> None:
    torch.save(body, tmp_path / "body.pth")
    with pytest.raises(ConvsmithError, match="gives `cifar_resnet20` no head for num_classes=10"):
        create_trained_model("cifar_resnet20", 10, tmp_path / "body.pth")


def test_the_layers_of_a_projection_are_no_head(body: State, tmp_path: Path) -> None:
    layers = {"linear.0.weight": torch.ones(64, 64), "linear.2.weight": torch.ones(10, 64)}
    loaded, report = load({**body, **layers}, tmp_path)
    assert_equal(loaded, body)
    assert set(report.dropped) == set(layers)


def test_of_moco_the_encoder_that_learns_is_taken(
    body: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    projection = {"fc.0.weight": torch.ones(64, 64), "fc.2.weight": torch.ones(10, 64)}
    learns, follows = {**body, **projection}, {**others(body), **projection}
    state = {**under("module.encoder_k.", follows), **under("module.encoder_q.", learns), "module.queue": torch.ones(3)}
    loaded, _ = load({"arch": "resnet", "state_dict": state, "optimizer": OPTIMIZER}, tmp_path)
    assert_equal(loaded, body)
    assert "what is not part of the model is left out" in caplog.text


def test_of_two_networks_that_fit_the_file_does_not_choose(whole: State, tmp_path: Path) -> None:
    both = {"epoch": 3, "state_dict": {**under("teacher.", others(whole)), **under("student.", whole)}}
    with pytest.raises(ConvsmithError, match=r"several networks.*teacher, student\n.*model\.weights_key=NAME"):
        load(both, tmp_path)
    loaded, _ = load(both, tmp_path, key="student")
    assert_equal(loaded, whole)


def test_of_a_teacher_and_a_student_the_one_that_fits_is_taken(whole: State, tmp_path: Path) -> None:
    teacher = create_model("cifar_resnet32", num_classes=5).state_dict()
    wider = {name: value.repeat(2, *[1] * (value.ndim - 1)) if value.ndim else value for name, value in teacher.items()}
    loaded, _ = load({**under("teacher.", wider), **under("student.", whole)}, tmp_path)
    assert_equal(loaded, whole)


@pytest.mark.parametrize(
    "beside",
    [
        {"criterion.weight": torch.ones(10)},
        {"train_acc.tp": torch.ones(())},
        {"queue": torch.ones(3), "n": torch.ones(1)},
    ],
)
def test_small_entries_beside_a_lightning_model_are_left_out(beside: State, whole: State, tmp_path: Path) -> None:
    content = {
        "epoch": 3, "state_dict": {**under("model.", whole), **beside}, "optimizer_states": [OPTIMIZER],
        "callbacks": {"ModelCheckpoint{'monitor': 'loss'}": {"best_model_score": torch.tensor(0.5)}},
        "hyper_parameters": {"lr": 0.1},
    }  # fmt: skip
    loaded, report = load(content, tmp_path)
    assert_equal(loaded, whole)
    assert set(report.dropped) == set(beside)


def test_what_a_profiler_left_in_the_layers_is_left_out(whole: State, tmp_path: Path) -> None:
    counts = {f"layer1.{i}.conv1.{name}": torch.zeros(1) for i in range(3) for name in ("total_ops", "total_params")}
    loaded, report = load({**whole, **counts}, tmp_path)
    assert_equal(loaded, whole)
    assert report.unexpected == ()


@pytest.mark.parametrize("entry", ["net", "module", "model_state_dict", "weights", "ema_state"])
def test_the_only_state_dict_is_found_under_any_entry(entry: str, whole: State, tmp_path: Path) -> None:
    loaded, _ = load({entry: whole, "optimizer_state_dict": OPTIMIZER, "best": torch.tensor(0.9), "epoch": 3}, tmp_path)
    assert_equal(loaded, whole)
    loaded, _ = load({"checkpoint": {"epoch": 3, entry: whole}}, tmp_path)
    assert_equal(loaded, whole)


def test_of_several_state_dicts_the_candidates_are_named(whole: State, tmp_path: Path) -> None:
    several = {"student": under("module.backbone.", whole), "old": {"teacher": others(whole)}, "optimizer": OPTIMIZER}
    with pytest.raises(ConvsmithError, match=r"they are student, old\.teacher\n.*model\.weights_key=NAME"):
        load(several, tmp_path)
    assert_equal(load(several, tmp_path, key="student")[0], whole)
    assert_equal(load(several, tmp_path, key="old.teacher")[0], others(whole))


def test_an_entry_that_is_not_there_is_named_with_those_that_are(whole: State, tmp_path: Path) -> None:
    with pytest.raises(
        ConvsmithError, match=r"no entry `studend`; did you mean `student`\?: its entries are: student, ep"
    ):
        load({"student": whole, "epoch": 3}, tmp_path, key="studend")


def test_numbers_and_texts_among_the_tensors_are_left_out(whole: State, tmp_path: Path) -> None:
    loaded, _ = load({**whole, "epoch": 3, "arch": "resnet20", "_extra_state": None}, tmp_path)
    assert_equal(loaded, whole)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(value: float, whole: State, tmp_path: Path) -> None:
    broken = whole["layer2.0.conv1.weight"].clone()
    broken[0, 0, 0, 0] = value
    with pytest.raises(ConvsmithError, match=r"1 of the 4,608 values of `layer2\.0\.conv1\.weight` are not finite"):
        load({**whole, "layer2.0.conv1.weight": broken}, tmp_path)


def test_where_no_name_fits_both_sides_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"the file has features\.0\.weight, the model conv1\.weight") as caught:
        load({"features.0.weight": torch.ones(3)}, tmp_path)
    assert "strict" not in str(caught.value)


class HistoryBuffer:
    """As mmengine's, which keeps numbers, and the methods that make statistics of them."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_log_history": np.array([0.5]), "statistics_methods": {"mean": HistoryBuffer.mean}}

    def mean(self) -> None:
        pass


class ConfigDict(dict[str, Any]):
    pass


def touch(path: str) -> None:
    Path(path).touch()


class Calls:
    """Has a function called where it is unpickled without restraint."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self._call[0], self._call[1:]


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A package that is here where a file is written, and nowhere else."""
    module = ModuleType("mmengine")
    for kind in (HistoryBuffer, ConfigDict, touch):
        monkeypatch.setattr(kind, "__module__", "mmengine")
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "mmengine", module)
    return module


@pytest.mark.parametrize("zipped", [True, False])
def test_objects_of_the_trainer_are_left_out_without_being_built(
    zipped: bool, whole: State, tmp_path: Path, trainer: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {
        "meta": {"cfg": ConfigDict(lr=0.1), "time": datetime(2026, 1, 1), "dataset_meta": {"classes": ("road",)}},
        "message_hub": {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"iter": 3}},
        "state_dict": under("backbone.", whole),
    }
    torch.save(content, tmp_path / "mm.pth", _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "mmengine")
    model = small()
    load_weights(model, tmp_path / "mm.pth")
    assert_equal(model.state_dict(), whole)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_beside_the_weights_is_ever_called(
    zipped: bool, whole: State, tmp_path: Path, trainer: ModuleType
) -> None:
    mark = tmp_path / "called"
    torch.save(
        {"model": whole, "log": Calls(touch, str(mark))}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped
    )
    load_weights(small(), tmp_path / "a.pth")
    assert not mark.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("function", [eval, exec, Path.touch, subprocess.run, os.mkdir])
def test_a_file_that_names_what_only_an_attack_needs_is_refused(
    function: Any, zipped: bool, whole: State, tmp_path: Path
) -> None:
    content = {"model": whole, "log": Calls(function, tmp_path / "called")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ConvsmithError, match=r"it holds the Python object `\S+`, which loading would have to execute"):
        load_weights(small(), tmp_path / "evil.pth")


def test_a_kind_of_dict_keeps_what_it_holds(whole: State, tmp_path: Path) -> None:
    kept: collections.defaultdict[str, State] = collections.defaultdict(dict, model=whole)
    loaded, _ = load({"weights": kept, "curve": np.arange(3.0)}, tmp_path)
    assert_equal(loaded, whole)


@pytest.mark.parametrize("content", ["model", "entry"])
def test_a_pickled_model_says_to_save_its_state_dict(content: str, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    torch.save(model if content == "model" else {"model": model, "epoch": 2}, tmp_path / "whole.pth")
    with pytest.raises(ConvsmithError, match=r"torch\.nn\.modules\.container\.Sequential.*\nSave its state dict alone"):
        load_weights(small(), tmp_path / "whole.pth")
