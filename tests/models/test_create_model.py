from __future__ import annotations

import pytest
import torch

from convsmith.errors import ConvsmithError
from convsmith.models.base import SegmentationModel
from convsmith.models.registry import create_model, list_models


def test_list_models_filters_by_pattern() -> None:
    assert list_models("cifar_resnet?6") == ["cifar_resnet56"]


@pytest.mark.parametrize("name", list_models())
def test_every_model_maps_images_to_the_wanted_number_of_logits(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=7)
        output = model(torch.empty(2, 3, 64, 64))
    shape = (2, 7, 16, 16) if isinstance(model, SegmentationModel) else (2, 7)
    assert all(logits.shape == shape for logits in (output if isinstance(output, list) else [output]))


def test_zero_init_residual_makes_every_block_start_as_the_identity() -> None:
    model = create_model("resnet50", zero_init_residual=True)
    last = [module for name, module in model.named_modules() if name.endswith("bn3")]
    assert len(last) == 16
    assert all(not norm.weight.any() for norm in last)


def test_an_unknown_model_says_what_was_meant() -> None:
    with pytest.raises(ConvsmithError, match="did you mean `resnet50`"):
        create_model("resnet_50")


def test_an_unknown_option_says_what_was_meant_and_lists_the_options() -> None:
    with pytest.raises(ConvsmithError, match=r"did you mean `zero_init_residual`.*\n.*in_channels"):
        create_model("resnet50", zero_init_residal=True)


def test_options_that_exclude_one_another_name_the_reason() -> None:
    with pytest.raises(ConvsmithError, match="ResNet-18 and -34 have none"):
        create_model("resnet18", groups=32)
