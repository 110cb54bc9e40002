"""Classification: one label per image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.errors import ConvsmithError
from convsmith.models.base import ImageClassifier
from convsmith.recipe.schema import Recipe
from convsmith.tasks.classification_metrics import ClassificationResults


class Classification:
    """Cross-entropy with label smoothing (Szegedy et al. 2015, arXiv:1512.00567), judged by top-1 accuracy."""

    metric = "top1"

    def __init__(self, recipe: Recipe) -> None:
        self._label_smoothing = recipe.loss.label_smoothing

    def check_model(self, model: nn.Module) -> None:
        """Raise a ConvsmithError unless the model gives one vector of logits per image."""
        if not isinstance(model, ImageClassifier):
            raise ConvsmithError(
                "classification cannot train this model",
                f"{type(model).__name__} gives logits for each pixel, not for each image",
                "Choose another model.name; `convsmith models` lists them.",
            )

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch, from logits [N, K] and class indices [N]."""
        return F.cross_entropy(logits, targets, label_smoothing=self._label_smoothing)

    def new_results(self) -> ClassificationResults:
        """An empty collection for one evaluation."""
        return ClassificationResults()
