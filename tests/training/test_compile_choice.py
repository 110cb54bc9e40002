"""When a model is compiled, with clocks and passes that say what a test wants."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import convsmith as cs
from convsmith.data.loading.loader import Batch
from convsmith.launch.world import World
from convsmith.training import compilation
from convsmith.training.compilation import _is_faster, _seconds, choose_compilation, pays_to_compile


def session(*words: str, step: int = 0, compiled: bool | None = None, world: World | None = None) -> Any:
    """A training of 1,500 steps of two passes and two images each, of which one takes four billion multiply-adds."""
    return SimpleNamespace(
        recipe=cs.load_recipe("digits", words),
        plan=SimpleNamespace(total_steps=1500, gmacs=4.0, effective_batch=2, accumulation=2),
        progress=SimpleNamespace(step=step, compiled=compiled),
        world=world or World(),
        poll=SimpleNamespace(leaving_at_once=nullcontext),
    )


def parts(device: str = "cpu") -> Any:
    return SimpleNamespace(device=torch.device(device), model=nn.Linear(1, 1), batches=lambda: ["batch"])


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passes are left at each trial, which finds compiling to be faster."""
    passes = list[int]()

    def is_faster(_parts: object, _batch: object, left: int) -> bool:
        passes.append(left)
        return True

    monkeypatch.setattr(compilation, "_is_faster", is_faster)
    return passes


def test_a_training_that_takes_half_an_hour_on_any_machine_is_tried(tried: list[int]) -> None:
    assert pays_to_compile(session(), parts())
    assert tried == [3000]
    assert not pays_to_compile(session(step=1), parts())
    assert tried == [3000]


@pytest.mark.parametrize(
    "words",
    [
        ["model.name=convnext_tiny", "model.drop_path={start: 0, end: 0.1}"],
        ["model.name=resnet50", "model.drop_block={start: 0, end: 0.1}"],
        ["freeze={names: head}"],
        ["model.sync_batch_norm=true"],
        ["quantization_aware={}"],
    ],
)
def test_what_changes_with_the_epoch_or_talks_is_not_tried(words: list[str], tried: list[int]) -> None:
    assert not pays_to_compile(session(*words), parts())
    assert tried == []


def test_a_device_that_gains_nothing_is_not_tried(tried: list[int]) -> None:
    assert not pays_to_compile(session(), parts("mps"))
    assert tried == []


@pytest.mark.parametrize("wanted", [True, False])
def test_the_recipe_may_decide(wanted: bool, tried: list[int]) -> None:
    assert pays_to_compile(session(f"compile={str(wanted).lower()}", step=1499), parts("mps")) is wanted
    assert tried == []


def trial(monkeypatch: pytest.MonkeyPatch, eager: Any, compiled: Any, spent: float, passes: int) -> bool:
    """The outcome where a pass takes so many seconds, and compiling took some."""
    seconds = iter([eager, compiled])

    def take(*_: object) -> float:
        found = next(seconds)
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, float)
        return found

    monkeypatch.setattr(compilation, "_seconds", take)
    monkeypatch.setattr(torch, "compile", lambda model: model)
    monkeypatch.setattr("time.perf_counter", iter([100.0, 100.0 + spent]).__next__)
    return _is_faster(parts(), "batch", passes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("eager", "compiled", "spent", "passes", "pays"),
    [
        (2.0, 1.0, 899.0, 900, True),
        (2.0, 1.0, 900.0, 900, False),
        (2.0, 1.0, 1.0, 899, False),  # half an hour is not left
        (2.0, 3.0, 1.0, 900, False),
        (2.0, RuntimeError("no compiler\nand so on"), 1.0, 900, False),
        (RuntimeError("std::bad_alloc"), 1.0, 1.0, 900, False),
    ],
)
def test_compiling_pays_where_it_saves_more_than_it_costs(
    eager: Any, compiled: Any, spent: float, passes: int, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trial(monkeypatch, eager, compiled, spent, passes) is pays


def test_an_error_of_the_passes_themselves_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        trial(monkeypatch, RuntimeError("a bug"), 1.0, 1.0, 900)


@pytest.mark.parametrize(("spent", "said"), [(1.0, "compiled: a pass takes 1 s"), (999.0, "not compiled: a pass")])
def test_the_outcome_is_said(
    spent: float, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        trial(monkeypatch, 2.0, 1.0, spent, 900)
    assert caplog.messages[-1].startswith(said)


def test_a_pass_is_timed_by_the_middle_one_of_three_after_two_that_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, took = nn.Linear(1, 1), (90.0, 80.0, 1.0, 7.0, 3.0)

    def clock() -> Iterator[float]:
        for seconds in took:
            yield 1.0
            yield 1.0 + seconds

    monkeypatch.setattr("time.perf_counter", clock().__next__)
    computed = SimpleNamespace(
        device=torch.device("cpu"),
        precision="fp32",
        as_input=lambda images: images,
        objective=lambda model, images, targets, epoch: model(images).sum() + targets.sum() * epoch,
    )
    batch = Batch(torch.ones(1, 1), torch.ones(1), [])
    assert _seconds(model, computed, batch) == 3.0  # type: ignore[arg-type]
    assert model.weight.grad is not None
    assert model.weight.grad.item() == 5.0


@pytest.mark.parametrize(
    ("words", "compiled", "expected", "warns"),
    [
        ("compile=auto", None, True, False),
        ("compile=auto", True, True, False),
        ("compile=auto", False, False, False),
        ("compile=true", True, True, False),
        ("compile=true", False, True, True),
        ("compile=false", True, False, True),
        ("compile=false", False, False, False),
    ],
)
def test_a_run_goes_on_as_it_began_unless_the_recipe_says_otherwise(
    words: str, compiled: bool | None, expected: bool, warns: bool, tried: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    made = session(words, compiled=compiled)
    choose_compilation(made, parts())
    assert made.progress.compiled is expected
    assert tried == ([3000] if compiled is None else [])
    told = "the model now computes {}: results may differ in the last bits"
    assert caplog.messages == ([told.format("compiled" if expected else "as it is")] if warns else [])


@pytest.mark.parametrize(
    ("words", "compiled", "warns"),
    [("compile=auto", None, False), ("compile=true", None, True), ("compile=auto", True, True)],
)
def test_a_model_that_is_shared_out_is_not_compiled(
    words: str, compiled: bool | None, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made = session(words, compiled=compiled, world=World(0, 2, sharded=True))
    choose_compilation(made, parts())
    assert made.progress.compiled is False
    assert bool(caplog.messages) is warns


def test_only_the_process_that_leads_tries(tried: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "broadcast", lambda _world, value: value)
    choose_compilation(session(world=World(1, 2)), parts())
    assert tried == []
