"""Which parameters the optimizer treats alike: weight decay and learning rate by name and kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from torch import nn

from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.models.base import VisionModel
from convsmith.recipe.optimization import ByPattern, Optimizer
from convsmith.recipe.plan import Group

logger = logging.getLogger(__name__)

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def parameter_groups(model: nn.Module, optimizer: Optimizer) -> tuple[Group, ...]:
    """Trainable parameters by learning rate and weight decay, in the model's order; each is in exactly one group.

    The first rule for weight decay that applies counts: `weight_decays`, `bias_weight_decay` (before the
    norms', as in torchvision's set_weight_decay), `norm_weight_decay`, `vector_weight_decay`, `weight_decay`.

    Args:
        model: any module; with `layer_decay` a VisionModel, whose layer ids say how deep a parameter lies.
        optimizer: the recipe's section.

    Raises:
        ConvsmithError: a pattern fits no parameter, not even one that is frozen.
    """
    for key, rules in (("weight_decays", optimizer.weight_decays), ("lr_scales", optimizer.lr_scales)):
        check_patterns(f"optimizer.{key}", [pattern for pattern, _ in rules], model)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    depth_scales = _depth_scales(model, optimizer.layer_decay)
    lr_scale, weight_decay = (_by_name(model, rules) for rules in (optimizer.lr_scales, optimizer.weight_decays))
    special = _special_weight_decays(model, optimizer)
    members: dict[tuple[float, float], list[str]] = {}
    for name in names:
        scale = lr_scale(name, 1.0) * depth_scales.get(name, 1.0)
        decay = weight_decay(name, special.get(name, optimizer.weight_decay))
        members.setdefault((scale, decay), []).append(name)
    if optimizer.weight_decay_end is not None and optimizer.weight_decay not in {decay for _, decay in members}:
        logger.warning(
            "optimizer.weight_decay_end moves nothing: no parameter that learns has the weight decay %g itself",
            optimizer.weight_decay,
        )
    return tuple(Group(scale, decay, tuple(group)) for (scale, decay), group in members.items())


def named_by(pattern: str, model: nn.Module) -> Callable[[str], bool]:
    """Whether a parameter's name is among those that a recipe names.

    Args:
        pattern: `head`, the layers that give logits; `backbone`, all others; or a pattern of shell such as `layer4.*`.
        model: whose head is meant; one that is not a VisionModel has none.
    """
    if pattern in ("head", "backbone") and isinstance(model, VisionModel):
        head, wanted = model.head_prefixes, pattern == "head"
        return lambda name: name.startswith(head) == wanted
    return lambda name: fnmatchcase(name, pattern)


def check_patterns(key: str, patterns: Iterable[str], model: nn.Module) -> None:
    """Raise a ConvsmithError if a pattern fits no parameter, not even one that is frozen.

    Args:
        key: of the recipe, for the message.
        patterns: those that `named_by` takes.
        model: whose parameters they name.
    """
    names = [name for name, _ in model.named_parameters()]
    heads = [f"{prefix}*" for prefix in (model.head_prefixes if isinstance(model, VisionModel) else ())]
    known = [*(("head", "backbone") if heads else ()), *heads, *names]
    for pattern in patterns:
        if not any(map(named_by(pattern, model), names)):
            head = f"The head of this model is {' and '.join(f'`{name}`' for name in heads)}; its" if heads else "Its"
            raise ConvsmithError(
                f"{key}: no parameter of the model is called `{pattern}`{did_you_mean(pattern, known)}",
                fix=f"{head} parameters are called {names[0]} to {names[-1]}; `*` stands for any letters, "
                f"and `head` for the head of any model.",
            )


def _special_weight_decays(model: nn.Module, optimizer: Optimizer) -> dict[str, float]:
    """Weight decay that the kind of each parameter suggests, by name."""
    in_norms = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, _NORMS)
        for name, _ in module.named_parameters(recurse=False)
    }
    special = {}
    for name, parameter in model.named_parameters():
        is_bias = name.rpartition(".")[2] == "bias"
        rules = (
            (is_bias, optimizer.bias_weight_decay),
            (name in in_norms, optimizer.norm_weight_decay),
            (parameter.ndim <= 1 or is_bias, optimizer.vector_weight_decay),
        )
        decay = next((decay for applies, decay in rules if applies and decay is not None), None)
        if decay is not None:
            special[name] = decay
    return special


def _depth_scales(model: nn.Module, layer_decay: float | None) -> dict[str, float]:
    if layer_decay is None:
        return {}
    assert isinstance(model, VisionModel)
    ids = model.layer_ids()
    head = max(ids.values())
    return {name: layer_decay ** (head - i) for name, i in ids.items()}


def _by_name(model: nn.Module, rules: ByPattern) -> Callable[[str, float], float]:
    """The value of the first rule that fits a parameter's name, else the other one given."""
    fits = [(named_by(pattern, model), value) for pattern, value in rules]
    return lambda name, otherwise: next((value for is_named, value in fits if is_named(name)), otherwise)
