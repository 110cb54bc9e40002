"""Losses of segmentation models: logits [N, K, H, W] against masks of class indices [N, H, W].

Pixels that are `ignore_index` count in no loss and no gradient, and a batch of nothing else gives 0, where the official
code gives NaN or raises. But for Lovasz-Softmax, nothing here waits for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from convsmith.errors import ConvsmithError, counted
from convsmith.recipe import objective
from convsmith.spec import IGNORED
from convsmith.tasks.losses import focused

SegmentationLoss = Callable[[Tensor | Sequence[Tensor], Tensor], Tensor]
"""From the model's output, logits [N, K, h, w] or several of them, and masks [N, H, W] to a scalar."""


def cross_entropy(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, smoothing: float = 0.0, ignore_index: int = IGNORED
) -> Tensor:
    """Cross-entropy, averaged over the pixels that count, each with the weight of its class.

    Args:
        logits: [N, K, H, W].
        target: class indices, int64 [N, H, W].
        weight: of each class, [K].
        smoothing: probability spread evenly over all classes.
        ignore_index: the value of pixels that do not count; in all functions here.
    """
    total = F.cross_entropy(
        logits, target, weight, ignore_index=ignore_index, reduction="sum", label_smoothing=smoothing
    )
    return _ratio(total, _pixel_weights(logits, target, weight, ignore_index).sum())


def cross_entropy_of_all(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, ignore_index: int = IGNORED
) -> Tensor:
    """The sum of cross-entropy times weight, divided by the number of all pixels, ignored ones too.

    HRNet's auxiliary loss beside OHEM: `OhemCrossEntropy` leaves it a map, of which the training loop takes the mean.
    """
    return F.cross_entropy(logits, target, weight, ignore_index=ignore_index, reduction="sum") / target.numel()


def focal(
    logits: Tensor,
    target: Tensor,
    gamma: float = 2.0,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    *,
    ignore_index: int = IGNORED,
) -> Tensor:
    """`convsmith.tasks.losses.focal` of pixels: `gamma` 0 gives `cross_entropy`, whose arguments the others are."""
    log_p = logits.log_softmax(1)
    pixel_weights = _pixel_weights(logits, target, weight, ignore_index)
    terms = pixel_weights * focused(-F.nll_loss(log_p, target, ignore_index=ignore_index, reduction="none"), gamma)
    if smoothing:
        terms_NKHW = focused(log_p, gamma) * (1 if weight is None else weight[:, None, None])
        terms = (1 - smoothing) * terms + smoothing * terms_NKHW.mean(1) * (target != ignore_index)
    return _ratio(-terms.sum(), pixel_weights.sum())


def ohem(
    logits: Tensor,
    target: Tensor,
    threshold: float = 0.9,
    min_kept: int = 131072,
    weight: Tensor | None = None,
    *,
    ignore_index: int = IGNORED,
) -> Tensor:
    """Cross-entropy times weight, averaged over the hard pixels: online hard example mining.

    As `OhemCrossEntropy` in HRNet's `lib/core/criterion.py`: of the n pixels that count, those are hard whose right
    class has a probability strictly below max(threshold, p[min(min_kept, n - 1)]), p in ascending order. So where
    `min_kept` reaches n, the easiest pixel is dropped unless it is below the threshold. The mean is over the number of
    hard pixels, not their weights. Where none is hard, the official code gives NaN; this gives 0.

    That code sorts all of p. Here nothing is looked up in p where more than `min_kept` pixels are at or below the
    threshold, and one value is selected where they are fewer. The result is the same but for rounding, since p is taken
    from the loss, as exp(-loss), and not from a softmax.

    Args:
        logits: [N, K, H, W].
        target: class indices, int64 [N, H, W].
        threshold: probability, 0 to 1.
        min_kept: number of pixels of the batch; below 1 counts as 1.
        weight: of each class, [K].
        ignore_index: the value of pixels that do not count.
    """
    losses = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    with torch.no_grad():
        valid = target != ignore_index
        p, min_kept = torch.exp(-losses), max(min_kept, 1)
        limit: float | Tensor = threshold
        # a GPU selects without asking first: the host would have to wait for the answer
        if p.device.type != "cpu" or (valid & (p <= threshold)).sum() <= min_kept:
            limit = ohem_limit(p, valid, threshold, min_kept)
        hard = valid & (p < limit)
    if weight is not None:
        losses = losses * _pixel_weights(logits, target, weight, ignore_index)
    return _ratio((losses * hard).sum(), hard.sum())  # not where(): a loss that is not finite must stay so


def ohem_limit(p: Tensor, valid: Tensor, threshold: float, min_kept: int) -> Tensor:
    """max(threshold, p[min(min_kept, n - 1)]), a scalar, of the n probabilities p that are valid, both [N, H, W]."""
    candidates = p.masked_fill(~valid, torch.inf).flatten()
    hardest = candidates.topk(min(min_kept + 1, len(candidates)), largest=False, sorted=False).values
    easiest = p.masked_fill(~valid, -torch.inf).max()
    return hardest.max().minimum(easiest).clamp(min=threshold)


def dice(logits: Tensor, target: Tensor, ignore_index: int = IGNORED) -> Tensor:
    """1 - the soft Dice coefficient: for each class 2 sum(p g) / (sum(p) + sum(g)) over all pixels of the batch.

    p is the softmax of the logits, g is 1 at pixels of the class and 0 elsewhere; the mean is over the classes that the
    batch has. That of nnU-Net (Isensee et al. 2018, arXiv:1809.10486), without V-Net's squares. A class that the batch
    lacks would add a constant 1 and no gradient.

    Args:
        logits: [N, K, H, W].
        target: class indices, int64 [N, H, W].
        ignore_index: the value of pixels that do not count.
    """
    p, truth = logits.softmax(1), _truth(logits, target, ignore_index)
    overlap = (p * truth).sum((0, 2, 3))
    size = truth.sum((0, 2, 3))
    predicted = (p * (target != ignore_index).unsqueeze(1)).sum((0, 2, 3))
    present = size > 0
    return _ratio((present * (1 - _ratio(2 * overlap, predicted + size))).sum(), present.sum())


def lovasz_softmax(logits: Tensor, target: Tensor, ignore_index: int = IGNORED) -> Tensor:
    """Lovasz-Softmax: the convex extension of 1 - IoU over all pixels of the batch, a mean over its classes.

    Berman et al. 2018 (arXiv:1705.08790), algorithm 1, with classes "present". The slope of the extension is written
    out: at a pixel of the class it is 1 / union, at another intersection / (union (union - 1)); differences of the IoU,
    as the authors take them, have few correct digits in float32.

    Args:
        logits: [N, K, H, W].
        target: class indices, int64 [N, H, W].
        ignore_index: the value of pixels that do not count.
    """
    truth_KP = _truth(logits, target, ignore_index).transpose(0, 1).flatten(1)
    classes = truth_KP.any(1).nonzero().squeeze(1)  # waits for a GPU, but sorting absent classes would take longer
    truth_CP = truth_KP[classes]
    p_CP = logits.softmax(1)[:, classes].transpose(0, 1).flatten(1)
    # ignored pixels come last, where the intersection, and with it the slope, is 0
    errors_CP = torch.where(truth_CP, 1 - p_CP, p_CP).masked_fill((target == ignore_index).flatten(), -1.0)
    errors_CP, order_CP = errors_CP.sort(dim=1, descending=True)
    with torch.no_grad():
        truth_CP = truth_CP.gather(1, order_CP)
        passed_CP = truth_CP.cumsum(1, dtype=torch.int32)
        intersection_CP = (passed_CP[:, -1:] - passed_CP).to(p_CP.dtype)
        union_CP = intersection_CP + torch.arange(1, target.numel() + 1, device=target.device)
        slope_CP = torch.where(truth_CP, 1, intersection_CP / (union_CP - 1)) / union_CP
    return (errors_CP * slope_CP).sum() / max(len(classes), 1)


def make_segmentation_loss(
    spec: objective.Loss, weight: Tensor | None, align_corners: bool, ignore_index: int = IGNORED
) -> SegmentationLoss:
    """The loss that a recipe describes, summed over the outputs of a model.

    Args:
        spec: any kind but `binary_cross_entropy`.
        weight: of each class, [K], on the device of the logits.
        align_corners: of the model, for a recipe that leaves it open.
        ignore_index: the value of pixels that do not count.

    Returns:
        A function of logits [N, K, h, w], or a list of them whose last is the prediction, and of masks [N, H, W] in
        uint8 or int64. It upsamples the logits bilinearly to the size of the masks and computes in their own type.
        It raises a ConvsmithError where the recipe lists values for another number of outputs.
    """
    assert isinstance(spec, objective.PixelLoss), f"{spec.name} is not a loss of pixels"
    main = _loss_of_output(spec)
    auxiliary = cross_entropy_of_all if isinstance(spec, objective.Ohem) else main

    def loss(output: Tensor | Sequence[Tensor], masks: Tensor) -> Tensor:
        outputs = [output] if isinstance(output, Tensor) else output
        others = len(outputs) - 1
        check_outputs(spec, len(outputs))
        factors = spec.output_weights or (*[0.4] * others, 1.0)
        corners = align_corners if spec.align_corners is None else spec.align_corners
        aligned = (corners,) * len(outputs) if isinstance(corners, bool) else corners
        target, class_weights = masks.long(), None if weight is None else weight.to(outputs[-1].dtype)
        parts = [auxiliary] * others + [main]
        terms = [
            factor * part(upsample(logits, target, align), target, weight=class_weights, ignore_index=ignore_index)
            for logits, factor, align, part in zip(outputs, factors, aligned, parts, strict=True)
        ]
        return torch.stack(terms).sum()

    return loss


def upsample(logits: Tensor, target: Tensor, align_corners: bool) -> Tensor:
    """Logits [N, K, h, w], resized bilinearly to the size of masks [N, H, W] where that differs."""
    size = target.shape[-2:]
    if logits.shape[-2:] == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=align_corners)


def _loss_of_output(spec: objective.PixelLoss) -> Callable[..., Tensor]:
    """A function of logits, target, weight and ignore_index."""
    match spec:
        case objective.Ohem():
            return partial(ohem, threshold=spec.threshold, min_kept=spec.min_kept)
        case objective.Dice():
            return partial(_with_cross_entropy, dice, spec.cross_entropy)
        case objective.Lovasz():
            return partial(_with_cross_entropy, lovasz_softmax, spec.cross_entropy)
        case objective.Focal():
            return partial(focal, gamma=spec.gamma, smoothing=spec.label_smoothing)
        case objective.CrossEntropy():
            return partial(cross_entropy, smoothing=spec.label_smoothing)
    raise AssertionError(f"no loss for {type(spec).__name__}")


def _with_cross_entropy(
    region_loss: Callable[[Tensor, Tensor, int], Tensor],
    factor: float,
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None,
    ignore_index: int,
) -> Tensor:
    loss = region_loss(logits, target, ignore_index)
    return loss + factor * cross_entropy(logits, target, weight, ignore_index=ignore_index) if factor else loss


def check_outputs(spec: objective.Loss, outputs: int) -> None:
    """Raise a ConvsmithError if a loss of pixels lists values for another number of a model's outputs."""
    for key in ("output_weights", "align_corners"):
        listed = getattr(spec, key)
        if isinstance(listed, tuple) and len(listed) != outputs:
            raise ConvsmithError(
                f"loss.{key} lists {counted(len(listed), 'value')}, but the model has {counted(outputs, 'output')}",
                fix="Give one for each output, the prediction last, or null.",
            )


def _pixel_weights(logits: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The weight of each pixel's class [N, H, W], 0 where it is ignored."""
    valid = target != ignore_index
    if weight is None:
        return valid.to(logits.dtype)
    return weight[torch.where(valid, target, 0)] * valid


def _truth(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    """Which class is right, bool [N, K, H, W]; none where a pixel is ignored."""
    valid = target != ignore_index
    index = torch.where(valid, target, 0).unsqueeze(1)
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, index, valid.unsqueeze(1))


def _ratio(total: Tensor, size: Tensor) -> Tensor:
    """Total / size, and 0 where both are 0."""
    return total / size.to(total.dtype).clamp(min=torch.finfo(total.dtype).tiny)
