"""A bundle as a pyfunc model of MLflow, which loads it by the name of this module. Needs neither torch nor MLflow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convsmith.bundle.decode import ImageError
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.segmentation import Segmentation


class ImageModel:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """An answer for each image, as `convsmith serve` gives it; `{"error": ...}` where one cannot be read.

        Args:
            model_input: paths or the bytes of image files: one, a list or array of them, or a table whose first
                column they are.
            params: MLflow passes it; there are none.
        """
        return [_answer(prediction) for prediction in self.bundle.predict_many(_images(model_input))]


def _load_pyfunc(path: str) -> ImageModel:
    """The name is MLflow's; `path` is the bundle."""
    return ImageModel(load(path))


def _images(given: Any) -> Iterable[str | bytes]:
    if isinstance(given, str | bytes):
        return [given]
    column = given.iloc[:, 0] if hasattr(given, "iloc") and given.ndim == 2 else given
    images: list[str | bytes] = list(column)
    return images


def _answer(prediction: Any) -> dict[str, Any]:
    if isinstance(prediction, ImageError):
        return {"error": str(prediction)}
    answer: dict[str, Any] = (
        prediction.to_dict(runs=True) if isinstance(prediction, Segmentation) else prediction.to_dict()
    )
    return answer
