"""FCN: a head of convolutions on the last stage, which a backbone that can be dilated gives at 1/8 of the size.

Long et al. 2015 (arXiv:1411.4038), dilated as in Chen et al. 2017 (arXiv:1706.05587). Names and arithmetic are those of
mmsegmentation 0.30: mmseg/models/decode_heads/{decode_head,fcn_head}.py with the backbone `ResNet` (not `ResNetV1c`) of
configs/fcn/fcn_r50b-d8_512x1024_80k_cityscapes.py. The number of classes is that of ADE20K.
"""

from __future__ import annotations

from convsmith.models.base import StagedClassifier
from convsmith.models.decoder import FCNHead, StagedSegmentation


class FCN(StagedSegmentation):
    """FCN heads on the last two stages.

    Args:
        backbone: a classifier; its last layers are left out.
        num_classes: number of classes K.
    """

    stages = slice(-2, None)
    dilates = True

    def __init__(self, backbone: StagedClassifier, num_classes: int = 150) -> None:
        *_, auxiliary, last = backbone.stage_widths
        super().__init__(
            backbone,
            FCNHead(-1, last, max(1, last // 4), num_classes, depth=2, concatenate=True),
            FCNHead(-2, auxiliary, max(1, auxiliary // 4), num_classes, depth=1, concatenate=False),
        )


DECODERS = {"fcn": FCN}
