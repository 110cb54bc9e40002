from __future__ import annotations

import numpy as np
import pytest
from torch import Tensor

from convsmith.deploy.torch_runtime import TorchRuntime
from convsmith.errors import ConvsmithError


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_images_that_a_model_does_not_take_are_one_clear_error(kind: type[Exception]) -> None:
    def model(_images: Tensor) -> Tensor:
        raise kind("Guard failed: images.size()[2] >= 6")

    with pytest.raises(ConvsmithError, match=r"cannot run on images of shape \(1, 3, 5, 5\): Guard failed"):
        TorchRuntime(model).run(np.zeros((1, 3, 5, 5), np.uint8))
