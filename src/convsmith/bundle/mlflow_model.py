"""A bundle as a pyfunc model of MLflow, which loads it by the name of this module. Needs neither torch nor MLflow."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.predictor import Bundle, load

PATHS = "paths"
"""Key of MLflow's `model_config`, for whoever loads the model: true takes text for paths of this machine."""


class ImageModel:
    """The model that `mlflow.pyfunc.load_model` wraps.

    Args:
        bundle: what predicts.
        paths: text names files. Otherwise it is base64 of an image file, and no client can have a file read.
    """

    def __init__(self, bundle: Bundle, paths: bool = False) -> None:
        self.bundle, self.paths = bundle, paths

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """An answer for each image, as `convsmith serve` gives it; `{"error": ...}` where one cannot be read.

        Args:
            model_input: the bytes of image files, base64 of them, or paths if that is on: one, a list or array of
                them, or a table whose first column they are.
            params: MLflow passes it; there are none.
        """
        sources = [self._source(given, number) for number, given in enumerate(_given(model_input))]
        predictions = self.bundle.predict_many([it for it in sources if not isinstance(it, ImageError)])
        answers = (it if isinstance(it, ImageError) else next(predictions) for it in sources)
        return [{"error": str(it)} if isinstance(it, ImageError) else self.bundle.task.to_json(it) for it in answers]

    def _source(self, given: Any, number: int) -> Any:
        if isinstance(given, str) and self.paths:
            return Path(given)
        if not isinstance(given, str | bytes | bytearray | memoryview):
            return _refused(number, type(given).__name__)
        try:
            return base64.b64decode(given, validate=True)  # bytes too: MLflow's server leaves some as they came
        except ValueError:  # no image file consists of the letters of base64 alone
            return _refused(number, "text that is not base64") if isinstance(given, str) else given


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> ImageModel:
    """The name is MLflow's; `path` is the bundle."""
    return ImageModel(load(path), paths=(model_config or {}).get(PATHS) is True)


def _given(model_input: Any) -> Iterable[Any]:
    if isinstance(model_input, str | bytes):
        return [model_input]
    column = model_input.iloc[:, 0] if hasattr(model_input, "iloc") and model_input.ndim == 2 else model_input
    return list(column)


def _refused(number: int, kind: str) -> ImageError:
    return ImageError(
        f"cannot read images[{number}]",
        f"it is {kind}",
        f"Pass the bytes of image files, or base64 of them; paths where the model is loaded with "
        f"model_config={{'{PATHS}': True}}.",
    )
