"""Optimizers, and their state as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from convsmith.errors import require_extra
from convsmith.recipe.optimization import AdamW, Lamb, Lion, Optimizer, RmsProp, Sgd
from convsmith.recipe.plan import Group
from convsmith.training.parallel.shares import is_shared_out, shared_out

# Float32 tensors of a parameter's size that the optimizer keeps.
STATE_SLOTS = {"sgd": 1, "adamw": 2, "adam": 2, "rmsprop": 2, "lamb": 2, "lion": 1}


def make_optimizer(model: nn.Module, recipe: Optimizer, groups: tuple[Group, ...]) -> torch.optim.Optimizer:
    """The recipe's optimizer over `groups`.

    Each torch group also carries its `lr_scale`, its `names`, and in `decay_moves` whether a schedule of the weight
    decay is for it: the weight decay is exactly the recipe's, and not 0.

    Raises:
        ConvsmithError: it is one of timm's, which is not installed.
    """
    parameters = dict(model.named_parameters())
    torch_groups = [
        {
            "params": [parameters[name] for name in group.names],
            "weight_decay": group.weight_decay,
            "lr_scale": group.lr_scale,
            "names": group.names,
            "decay_moves": group.weight_decay == recipe.weight_decay > 0,
        }
        for group in groups
    ]
    if isinstance(recipe, Sgd):
        fused = not any(map(is_shared_out, parameters.values()))  # torch has no fused SGD for those
        sgd = torch.optim.SGD(
            torch_groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused
        )
        if recipe.momentum:
            # torch would make them in the first step, of uninitialised memory if loss scaling skips that one
            for parameter in (p for group in sgd.param_groups for p in group["params"]):
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    if isinstance(recipe, RmsProp):
        return torch.optim.RMSprop(
            torch_groups, lr=recipe.lr, alpha=recipe.alpha, eps=recipe.eps, momentum=recipe.momentum
        )
    if isinstance(recipe, Lamb | Lion):
        return _of_timm(recipe, torch_groups)
    kind = torch.optim.AdamW if isinstance(recipe, AdamW) else torch.optim.Adam
    return kind(torch_groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)


def _of_timm(recipe: Lamb | Lion, torch_groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    try:
        from timm.optim import lamb, lion
    except ModuleNotFoundError as error:
        raise require_extra("timm", f"the optimizer {recipe.name}") from error
    if isinstance(recipe, Lamb):
        return lamb.Lamb(torch_groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps)
    return lion.Lion(torch_groups, lr=recipe.lr, betas=recipe.betas)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as `PARAMETER/SLOT` to tensor; what a group keeps for all of its own is `group N/SLOT`."""
    return {
        f"{owner}/{slot}": value
        for owner, slots in _owners(optimizer).items()
        for slot, value in slots.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned, in the memory layout of the parameters."""
    owners = _owners(optimizer)
    parameters = _parameters(optimizer)
    for key, value in tensors.items():
        owner, _, slot = key.rpartition("/")
        parameter = parameters.get(owner)
        if parameter is None:
            like = value
        elif value.shape == parameter.shape:
            like = parameter
        else:  # a count of steps: a fused kernel reads it on the device, other code on the CPU
            like = value.to(parameter.device if optimizer.defaults.get("fused") else "cpu")
        owners[owner][slot] = torch.empty_like(like, dtype=value.dtype).copy_(shared_out(value, like))


def _owners(optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    """By name, what each parameter and each group (timm's LAMB counts steps there) keeps."""
    groups: dict[str, dict[str, Any]] = {f"group {i}": group for i, group in enumerate(optimizer.param_groups)}
    return {name: optimizer.state[parameter] for name, parameter in _parameters(optimizer).items()} | groups


def _parameters(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
