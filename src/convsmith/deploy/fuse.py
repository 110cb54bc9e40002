"""Batch normalisations of a trained model, multiplied into the convolutions before them, for a faster export."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def fuse_batch_norms(model: nn.Module, example: Tensor) -> None:
    """Change a model in eval mode in place, to one that says the same up to float32 rounding in fewer modules.

    What belongs together is seen in one call: a batch normalisation, called once, whose input is the output of a
    convolution, called once, that nothing else takes. What is of another class, such as a layer that rounds its weights
    or that has an activation of its own, is left as it is.

    Args:
        model: its exporter would fold the same, after it has followed each operation of each normalisation.
        example: its input.
    """
    calls, found, uses = Counter[nn.Module](), list[tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]](), _Uses()
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module] += 1
        if type(module) is nn.Conv2d:
            made[id(output)] = module, output  # kept, so that no later tensor has its number
            uses.of[id(output)] = 0
        elif type(module) is nn.BatchNorm2d and id(inputs[0]) in made:
            conv, between = made[id(inputs[0])]
            found.append((conv, module, between))

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    with torch.no_grad(), uses:
        model(example)
    for hook in hooks:
        hook.remove()
    places = {module: name for name, module in model.named_modules()}
    for conv, norm, between in found:
        if calls[conv] == calls[norm] == uses.of[id(between)] == 1:
            model.set_submodule(places[norm], nn.Identity())
            model.set_submodule(places[conv], fuse_conv_bn_eval(conv, norm))


class _Uses(TorchDispatchMode):
    """Counts how many operations take a tensor, by its number."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.of = Counter[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and do what is asked."""
        self.of.update({id(it) for it in tree_leaves((args, kwargs)) if isinstance(it, Tensor)})
        return func(*args, **(kwargs or {}))
