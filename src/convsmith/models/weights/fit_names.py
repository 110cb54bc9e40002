"""Which of a file's tensors are a model's, whatever is wrapped around it or beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from torch import Tensor

from convsmith.errors import ConvsmithError
from convsmith.models.weights.checkpoint_file import BY_KEY, some
from convsmith.models.weights.official_names import to_our_names

_DEEPEST = 6  # dots in what may be wrapped around a model's names
# What follows the network that learns and is not it: momentum encoders of MoCo and BYOL, and averages.
_COPIES = ("encoder_k", "momentum_encoder", "target_", "ema", "averaged")
# What layers that give logits, or what holds one of them, are called.
_HEADS = frozenset({
    "fc", "head", "heads", "classifier", "linear", "last_linear", "cls_head", "logits", "output", "new_fc",
})  # fmt: skip


def is_counter(name: str) -> bool:
    """Whether it is BatchNorm's counter, which no result depends on."""
    return name.endswith("num_batches_tracked")


def unwrapped(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor], heads: Sequence[str], where: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the model, by its own names as far as it has them, and those beside it, by the names they have.

    What comes before the names, such as `module.` or `state.encoder_q.`, is what leaves most of them as `own` has them.

    Raises:
        ConvsmithError: two networks of the file fit equally well.
    """
    head = tuple(f"{path}." for path in heads)
    body = {name: it for name, it in own.items() if not is_counter(name) and not name.startswith(head)}
    views = {prefix: to_our_names(_below(state, prefix), own) for prefix in ("", *_prefixes(state, len(body) // 2))}
    scores = {
        prefix: sum(name in body and value.numel() == body[name].numel() for name, value in view.items())
        for prefix, view in views.items()
    }
    best = [prefix for prefix in views if scores[prefix] == max(scores.values())]
    best = [prefix for prefix in best if not any(prefix != outer and prefix.startswith(outer) for outer in best)]
    if len(best) > 1:
        best = [it for it in best if not any(part.startswith(_COPIES) for part in it.split("."))] or best
    if len(best) > 1:
        names = some(tuple(prefix.rstrip(".") for prefix in best))
        raise ConvsmithError(f"{where} holds several networks that fit the model", f"they are {names}", BY_KEY)
    prefix = best[0]
    beside = {name: value for name, value in state.items() if not name.startswith(prefix)}
    return views[prefix], beside


def _prefixes(state: Mapping[str, Tensor], enough: int) -> list[str]:
    """Prefixes of a wrapper around the model: how so many names begin, the shortest first."""
    counts = Counter[str]()
    for name in state:
        parts = name.split(".")[:-1]
        counts.update(f"{'.'.join(parts[:depth])}." for depth in range(1, min(len(parts), _DEEPEST) + 1))
    return sorted((prefix for prefix, count in counts.items() if count >= enough), key=len)


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def find_head(
    state: dict[str, Tensor], beside: dict[str, Tensor], own: Mapping[str, Tensor], heads: Sequence[str]
) -> None:
    """Give the only layer of logits, such as `head.fc` or `fc.1`, the name of the model's, in `state`.

    It may lie beside the model, as its wrapper's, and is taken out there. Nothing is done where the model has several
    heads, or the file that name already, or more layers than one where its head is.
    """
    if len(heads) != 1 or f"{heads[0]}.weight" in state:
        return
    ours = {name: own.get(f"{heads[0]}.{name}") for name in ("weight", "bias")}
    assert ours["weight"] is not None
    for place in (state, beside):
        others = own if place is state else ()
        layers = [name.removesuffix(".weight") for name in place if name not in others and _is_head(name, place[name])]
        if len(layers) != 1:
            continue
        theirs = {name: place.get(f"{layers[0]}.{name}") for name in ours}
        features = {value.shape[1] for value in (theirs["weight"], ours["weight"]) if value is not None}
        if len(features) == 1 and (theirs["bias"] is None) == (ours["bias"] is None):
            for name, value in theirs.items():
                if value is not None:
                    state[f"{heads[0]}.{name}"] = value
                    del place[f"{layers[0]}.{name}"]
            return


def _is_head(name: str, value: Tensor) -> bool:
    """Whether it is the weight of a layer where networks have their head."""
    return name.endswith(".weight") and value.ndim >= 2 and not _HEADS.isdisjoint(name.split("."))
