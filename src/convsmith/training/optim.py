"""Optimizers and their parameter groups."""

from __future__ import annotations

import torch
from torch import nn

from convsmith.recipe.plan import Group
from convsmith.recipe.optimization import AdamW, Sgd

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)

# Float32 tensors of a parameter's size that the optimizer keeps.
STATE_SLOTS = {"sgd": 1, "adamw": 2}


def parameter_groups(model: nn.Module, optimizer: Sgd | AdamW) -> tuple[Group, ...]:
    """Trainable parameters by weight decay, in the model's order; each parameter is in exactly one group."""
    in_norms = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, _NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }

    def decay(name: str) -> float:
        special = None
        if name in in_norms:
            special = optimizer.norm_weight_decay
        elif name.rpartition(".")[2] == "bias":
            special = optimizer.bias_weight_decay
        return optimizer.weight_decay if special is None else special

    names_of: dict[float, list[str]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            names_of.setdefault(decay(name), []).append(name)
    return tuple(Group(lr_scale=1.0, weight_decay=d, names=tuple(names)) for d, names in names_of.items())


def make_optimizer(model: nn.Module, recipe: Sgd | AdamW, groups: tuple[Group, ...]) -> torch.optim.Optimizer:
    """The recipe's optimizer over `groups`; each torch group also carries its `lr_scale` and `names`."""
    parameters = dict(model.named_parameters())
    torch_groups = [
        {
            "params": [parameters[name] for name in group.names],
            "weight_decay": group.weight_decay,
            "lr_scale": group.lr_scale,
            "names": group.names,
        }
        for group in groups
    ]
    if isinstance(recipe, Sgd):
        sgd = torch.optim.SGD(
            torch_groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
        )
        if recipe.momentum:
            # torch would make them in the first step, of uninitialised memory if loss scaling skips that one
            for parameter in (p for group in sgd.param_groups for p in group["params"]):
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return sgd
    return torch.optim.AdamW(torch_groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.eps, fused=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's state as `PARAMETER/SLOT` to tensor."""
    return {
        f"{name}/{slot}": value
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
        for slot, value in optimizer.state[parameter].items()
        if isinstance(value, torch.Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Put back what `optimizer_tensors` returned, in the memory layout of the parameters."""
    parameters = {
        name: parameter
        for group in optimizer.param_groups
        for name, parameter in zip(group["names"], group["params"], strict=True)
    }
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = parameters[name]
        like = parameter if value.shape == parameter.shape else value.to(parameter.device)
        optimizer.state[parameter][slot] = torch.empty_like(like, dtype=value.dtype).copy_(value)
