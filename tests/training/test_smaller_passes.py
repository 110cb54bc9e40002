"""What becomes of a step that memory is too small for, in one process and in one of several."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.errors import ConvsmithError
from convsmith.launch.report import OUT_OF_MEMORY
from convsmith.launch.world import World
from convsmith.training import fitting
from convsmith.training import train as module
from convsmith.training.divergence import LOWEST, Diverged
from convsmith.training.fitting import advance_in_memory
from convsmith.training.memory import OutOfMemory
from convsmith.training.precision import device_memory, free_memory, set_up, wait_for
from convsmith.training.progress import Progress
from convsmith.training.run import _words, forward_batch_limit, limit_forward_batch


@pytest.fixture(autouse=True)
def _plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any number of images but one be learned from."""

    def replan(_recipe: object, before: Any, images: int, _world: World) -> Any:
        if images == 1:
            raise ConvsmithError("cannot be trained on one image at a time")
        return SimpleNamespace(per_device_batch=images, accumulation=8 // images, effective_batch=8)

    monkeypatch.setattr(fitting, "replan", replan)


def stepper(folder: Path, errors: list[Exception], images: int = 8, world: World | None = None) -> Any:
    """Raises the errors, one in each try of a step, and changes a buffer of its model before."""
    model, left = nn.BatchNorm1d(2), iter(errors)

    def advance() -> None:
        assert model.running_mean is not None
        model.running_mean += 1
        if (error := next(left, None)) is not None:
            raise error

    undone = list[None]()
    plan = SimpleNamespace(per_device_batch=images, accumulation=8 // images)
    session = SimpleNamespace(
        recipe=None, plan=plan, world=world or World(), run=SimpleNamespace(path=folder),
        progress=SimpleNamespace(per_device_batch=images, step=4, compiled=False), write_down=lambda: None,
    )  # fmt: skip
    parts = SimpleNamespace(model=model, device=torch.device("cpu"))
    return SimpleNamespace(
        advance=advance, session=session, parts=parts, undone=undone, undo_passes=lambda: undone.append(None)
    )


def test_a_step_is_taken_again_in_smaller_passes_from_where_it_began(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = stepper(tmp_path, [OutOfMemory(8, "full"), OutOfMemory(4, "full")])
    advance_in_memory(made)
    assert (made.session.plan.per_device_batch, made.session.progress.per_device_batch) == (2, 2)
    assert made.parts.model.running_mean.tolist() == [1, 1]
    assert len(made.undone) == 2
    assert caplog.messages[0] == (
        "out of memory with 8 images in a forward pass (full): step 5 is taken in 2 passes of 4 images, and so are "
        "those after it; BatchNorm takes its statistics over those"
    )


@pytest.mark.parametrize("images", [2, 1])
def test_where_nothing_smaller_can_be_learned_from_the_error_is_raised(tmp_path: Path, images: int) -> None:
    with pytest.raises(OutOfMemory) as caught:
        advance_in_memory(stepper(tmp_path, [OutOfMemory(images, "full")], images))
    assert caught.value.smaller is None


def test_an_update_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory) as caught:
        advance_in_memory(stepper(tmp_path, [OutOfMemory(8, "full", in_update=True)]))
    assert (caught.value.smaller, caught.value.exit_code) == (4, 2)
    assert forward_batch_limit(tmp_path) is None


def test_one_of_several_leaves_word_and_ends(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory) as caught:
        advance_in_memory(stepper(tmp_path / "run", [OutOfMemory(8, "full")], world=World(0, 2)))
    assert (caught.value.smaller, caught.value.exit_code) == (4, OUT_OF_MEMORY)
    assert caught.value.fix == "The same command goes on from the last checkpoint with 4 in a forward pass."
    assert forward_batch_limit(tmp_path / "run") == 4
    limit_forward_batch(tmp_path / "run", 2)
    assert forward_batch_limit(tmp_path / "run") == 2


def session(*words: str, lr_factor: float = 1.0, world: World | None = None) -> Any:
    return SimpleNamespace(
        recipe=cs.load_recipe("digits", words), world=world or World(),
        progress=SimpleNamespace(lr_factor=lr_factor, per_device_batch=8), run=SimpleNamespace(checkpoints="there"),
    )  # fmt: skip


@pytest.fixture
def set_aside(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    asked = list[tuple[Any, ...]]()
    monkeypatch.setattr(module, "set_aside_after", lambda *given: asked.append(given))
    return asked


def test_the_training_goes_on_with_what_fits_into_memory() -> None:
    made, error = session(), OutOfMemory(8, "full")
    error.smaller = 4
    assert module._change_after(error, made) == "4 in a forward pass"
    assert made.progress.per_device_batch == 4
    for smaller, world in ((None, World()), (4, World(0, 2))):
        error.smaller = smaller
        with pytest.raises(OutOfMemory):
            module._change_after(error, session(world=world))


@pytest.mark.parametrize("leads", [True, False])
def test_a_training_that_diverged_goes_on_with_half_the_rate(leads: bool, set_aside: list[tuple[Any, ...]]) -> None:
    made = session("on_divergence=rollback", lr_factor=0.5, world=World(not leads, 2))
    told = module._change_after(Diverged("the loss", sound_until=12), made)
    assert (told, made.progress.lr_factor) == ("0.25 times the learning rate of the recipe", 0.25)
    assert set_aside == ([("there", 12)] if leads else [])
    module._change_after(Diverged("the loss"), made)
    assert len(set_aside) == leads


def test_a_training_that_diverged_ends_where_nothing_helps() -> None:
    with pytest.raises(Diverged, match="on_divergence=rollback"):
        module._change_after(Diverged("the loss"), session("on_divergence=stop"))
    with pytest.raises(Diverged) as caught:
        module._change_after(Diverged("the loss"), session("on_divergence=rollback", lr_factor=1 / 32))
    assert "rollback" not in caught.value.fix
    assert LOWEST == 1 / 32
    module._change_after(Diverged("the loss"), session("on_divergence=rollback", lr_factor=1 / 31))


def test_a_run_begins_at_its_first_step() -> None:
    begun = Progress(data_digest="d", threads=1, precision="fp32", per_device_batch=8)
    usual = {name: value for name, value in begun.to_dict().items() if value is not None}
    assert usual == {
        "data_digest": "d", "threads": 1, "precision": "fp32", "per_device_batch": 8, "world_size": 1, "lr_factor": 1.0,
        "step": 0, "loss_sums": [0.0], "norm_sum": 0.0, "train_seconds": 0.0, "data_seconds": 0.0, "evaluated_step": 0,
        "best_tuned": {}, "best_precision": "fp32", "epochs_without_improvement": 0, "stopped_early": False,
        "bad_files": {},
    }  # fmt: skip
    assert Progress.from_dict({**begun.to_dict(), "of a later version": 1}) == begun


@pytest.mark.parametrize(("count", "are_named"), [(5, True), (6, False)])
def test_five_keys_are_typed_again(count: int, are_named: bool) -> None:
    keys = [f"model.{name}" for name in "abcdef"[:count]]
    words = _words({"model": dict.fromkeys("abcdef", 1)}, keys)
    assert words == ([f"{key}=1" for key in keys] if are_named else [])
    assert _words({"model": {"a": 1}}, ["model.a", "model.gone"]) == []


def test_a_gpu_is_asked_for_its_memory_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[str]()
    gpu = SimpleNamespace(
        synchronize=lambda: asked.append("wait"),
        empty_cache=lambda: asked.append("free"),
        get_device_properties=lambda _: SimpleNamespace(total_memory=7),
    )
    monkeypatch.setattr(torch, "get_device_module", lambda _: gpu)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 5)
    monkeypatch.setattr("convsmith.machine.memory", lambda: 3)
    devices = [torch.device(name) for name in ("cpu", "mps", "cuda")]
    assert [device_memory(it) for it in devices] == [3, 5, 7]
    wait_for(devices[0])
    free_memory(devices[0])
    assert asked == []
    wait_for(devices[2])
    free_memory(devices[2])
    assert asked == ["wait", "free"]


@pytest.mark.parametrize(("device", "expected"), [("cuda", (True, True, "high")), ("cpu", (False, False, "highest"))])
def test_a_gpu_computes_the_same_each_time(
    device: str, expected: tuple[bool, bool, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    products = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    set_up(torch.device(device))
    cudnn = torch.backends.cudnn
    found = (cudnn.deterministic, cudnn.allow_tf32, torch.get_float32_matmul_precision())
    torch.set_float32_matmul_precision(products)
    assert found == expected
