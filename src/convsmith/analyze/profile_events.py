"""Times of operators and modules, from the events of torch.profiler.

A module's forward pass is what runs inside its span. Its backward pass is known by autograd's sequence numbers: an
operator of the forward pass and the node that it makes for the backward pass have the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch._C._autograd import DeviceType
from torch.profiler import record_function

DATA = "convsmith: next batch"
_MODULE = "convsmith: module "
_BACKWARD = "autograd::engine::evaluate_function"
_OPTIMIZER = "Optimizer."

OPTIMIZER, REST = "(optimizer)", "(all else)"


@dataclass
class Time:
    """Computing time of one operator or module, in seconds.

    Attributes:
        forward: in the forward pass; for operators, in all of the step.
        backward: in the backward pass.
        calls: how often.
    """

    forward: float = 0.0
    backward: float = 0.0
    calls: float = 0.0

    @property
    def seconds(self) -> float:
        """Both passes."""
        return self.forward + self.backward


@dataclass
class Times:
    """Computing time in the events, in seconds; loading of data is left out.

    Attributes:
        operators: by the name of the operator, without those that it calls.
        modules: by the path of the module in the model, without the modules in it; `OPTIMIZER`, and `REST` for the
            loss, the normalisation and all else. `""` is the model itself.
    """

    operators: dict[str, Time] = field(default_factory=lambda: defaultdict(Time))
    modules: dict[str, Time] = field(default_factory=lambda: defaultdict(Time))

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(time.seconds for time in self.modules.values())


@contextmanager
def module_spans(model: nn.Module) -> Iterator[None]:
    """Let each module of the model mark its forward pass for the profiler."""
    handles = []
    for path, module in model.named_modules():
        open_spans: list[record_function] = []

        def enter(_module: nn.Module, _args: Any, path: str = path, spans: list[Any] = open_spans) -> None:
            spans.append(record_function(_MODULE + path))
            spans[-1].__enter__()

        def leave(_module: nn.Module, _args: Any, _output: Any, spans: list[Any] = open_spans) -> None:
            spans.pop().__exit__(None, None, None)

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gather_times(events: Iterable[Any], on_gpu: bool) -> Times:
    """Add up the events of one profile.

    Args:
        events: what `torch.profiler.profile.events()` gives.
        on_gpu: whether the time of kernels counts, or that of the operators on the CPU.
    """
    roots = [event for event in events if event.device_type == DeviceType.CPU and event.cpu_parent is None]
    made_by: dict[int, str] = {}

    def remember(event: Any, owner: str, _backward: bool) -> None:
        if event.sequence_nr >= 0 and owner.startswith(_MODULE):
            made_by[event.sequence_nr] = owner  # the last one with this number is the one that made the node

    _walk(roots, {}, remember)
    times = Times()

    def add(event: Any, owner: str, backward: bool) -> None:
        seconds = (event.self_device_time_total if on_gpu else event.self_cpu_time_total) / 1e6
        if owner == DATA or not _is_operator(event):
            return
        operator, module = times.operators[event.name], times.modules[owner.removeprefix(_MODULE)]
        operator.forward += seconds
        operator.calls += 1
        if backward:
            module.backward += seconds
        else:
            module.forward += seconds

    _walk(roots, made_by, add)
    for event in events:
        if event.name.startswith(_MODULE) and event.device_type == DeviceType.CPU:
            times.modules[event.name.removeprefix(_MODULE)].calls += 1
    return times


def _walk(roots: Iterable[Any], made_by: dict[int, str], visit: Callable[[Any, str, bool], None]) -> None:
    """Visit every event with the module it belongs to, and whether in the backward pass."""
    waiting = [(event, REST, False) for event in reversed(list(roots))]
    while waiting:
        event, owner, backward = waiting.pop()
        if event.name.startswith(_MODULE) or event.name == DATA:
            owner = event.name
        elif event.name.startswith(_BACKWARD):
            owner, backward = made_by.get(event.sequence_nr, REST), True
        elif event.name.startswith(_OPTIMIZER):
            owner = OPTIMIZER
        visit(event, owner, backward)
        children = sorted(event.cpu_children, key=lambda child: child.time_range.start, reverse=True)
        waiting += [(child, owner, backward) for child in children]


def _is_operator(event: Any) -> bool:
    """Whether it computes, and is not a mark of Python's or of the autograd engine's."""
    return not (event.is_user_annotation or event.name.startswith(_BACKWARD))
