"""Grad-CAM and LayerCAM: where in its last maps a torch model finds what speaks for a class.

Selvaraju et al. 2017 (arXiv:1610.02391); Jiang et al. 2021 (LayerCAM, IEEE TIP 30). The numbers are those of the
package `grad-cam` to float32 rounding. It is not used: it needs a layer that is named for each family, OpenCV, and five
seconds to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from convsmith.analyze.heat.feature_maps import as_map, maps_before_head
from convsmith.errors import ConvsmithError
from convsmith.models.base import SegmentationModel, VisionModel

CamMethod = Literal["grad-cam", "layer-cam"]
_SLACK = 2  # of maps, where none lies over the image exactly


def grad_cam(
    model: VisionModel, images: Tensor, class_ids: Sequence[int], method: CamMethod = "grad-cam"
) -> NDArray[np.float32]:
    """The heat of a class in each image, float32 [N, H, W] in 0 to 1, of normalised images [N, C, H, W].

    The maps are the last ones before the model's head in which places still count. A class of a segmentation model is
    that of the pixels to which it is predicted, or of all where there is none.

    Args:
        model: in eval mode.
        images: on its device.
        class_ids: one for each image.
        method: `grad-cam` weights each channel by its mean gradient, `layer-cam` each place by its own.

    Raises:
        ConvsmithError: the model has no such maps.
    """
    with torch.enable_grad(), maps_before_head(model) as found:
        inputs = images.detach().requires_grad_()  # of a model whose first layers are frozen, maps need gradients too
        logits = model.segment(inputs) if isinstance(model, SegmentationModel) else model(inputs)
        score = _scores(logits, torch.tensor(class_ids, device=logits.device)).sum()
        features, gradients = _last_map(score, found, images, model)
    with torch.no_grad():
        weights = gradients.mean((2, 3), keepdim=True) if method == "grad-cam" else gradients.relu()
        heat = _scaled((weights * features).sum(1).relu())
        larger = F.interpolate(heat[:, None], images.shape[2:], mode="bilinear", align_corners=False)[:, 0]
        scaled: NDArray[np.float32] = _scaled(larger).float().cpu().numpy()
    return scaled


def _scores(logits: Tensor, class_ids: Tensor) -> Tensor:
    """The logits of the classes, [N], summed over the pixels where they are predicted."""
    if logits.ndim == 2:
        return logits.gather(1, class_ids[:, None])[:, 0]
    own = logits[torch.arange(len(logits)), class_ids]
    there = logits.argmax(1) == class_ids[:, None, None]
    there |= ~there.flatten(1).any(1)[:, None, None]
    return (own * there).sum((1, 2))


def _last_map(score: Tensor, found: Sequence[Tensor], images: Tensor, model: VisionModel) -> tuple[Tensor, Tensor]:
    """The last features on which the score rests place by place, and its gradients: both [N, C, h, w]."""
    batch, _, *size = images.shape
    inner = getattr(model, "model", model)
    prefix = int(getattr(inner, "num_prefix_tokens", 0))
    for slack, tensor in ((slack, it) for slack in (0, _SLACK) for it in reversed(found)):
        features = as_map(tensor, (size[0], size[1]), batch, prefix, slack=slack)
        if features is None or not tensor.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(score, tensor, retain_graph=True, allow_unused=True)
        gradients = None if gradient is None else as_map(gradient, (size[0], size[1]), batch, prefix, slack=slack)
        if gradients is not None and gradients.any():
            return features.detach(), gradients
    raise ConvsmithError(
        f"{type(inner).__name__} keeps no map of the image up to its head",
        f"images of {size[0]}x{size[1]} pixels end in a single place, or the class rests on none",
        "Use --method occlusion or --method rise, which look at the answers alone.",
    )


def _scaled(heat: Tensor) -> Tensor:
    """Heat [N, H, W] from 0 to 1 in each image, 0 where it is the same everywhere."""
    heat = heat - heat.amin((1, 2), keepdim=True)
    return heat / (heat.amax((1, 2), keepdim=True) + 1e-7)
