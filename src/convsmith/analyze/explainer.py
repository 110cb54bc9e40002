"""Where a model looks in an image: by the gradients of a run's torch model, or by the answers of a bundle alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from convsmith.analyze.heat.hidden_parts import occlusion, rise
from convsmith.analyze.heat.picture import picture
from convsmith.bundle.calibration import scaled
from convsmith.bundle.cam import WHY_NONE, Cam, open_cam
from convsmith.bundle.classification import log_softmax
from convsmith.bundle.format import holds_run
from convsmith.bundle.heat import overlay
from convsmith.bundle.images.decode import for_eyes
from convsmith.bundle.images.image_error import ImageError
from convsmith.bundle.multilabel import log_sigmoid
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.preprocess import ImageSource
from convsmith.errors import ConvsmithError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from convsmith.models.base import VisionModel

Method = Literal["grad-cam", "layer-cam", "cam", "occlusion", "rise"]
METHODS: tuple[Method, ...] = get_args(Method)
_CELLS = 16  # along a side, of the heat that JSON holds


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the model looked for one class of one image.

    Attributes:
        name: of the image.
        class_id, label: the class: the predicted one unless another was asked for.
        score: its probability, 0 to 1; of a mask, the mean over the pixels where it is predicted, or over all.
        method: how the heat was found.
        image: the pixels that the model saw, RGB [H, W, 3].
        heat: float32 [H, W] in 0 to 1: 0 where nothing speaks for the class, 1 where most does.
    """

    name: str
    class_id: int
    label: str
    score: float
    method: Method
    image: NDArray[np.uint8]
    heat: NDArray[np.float32]

    def overlay(self) -> NDArray[np.uint8]:
        """The heat's colours over the image, RGB [H, W, 3]."""
        return overlay(self.image, self.heat)

    def png(self) -> bytes:
        """A picture with image, heat and legend."""
        return picture(self.image, self.heat, f"{self.label} {self.score:.1%} ({self.method})")

    def to_dict(self) -> dict[str, Any]:
        """All but the pixels as JSON values: `peak` is the row and column of most heat, `heat` the means of cells."""
        peak = np.unravel_index(self.heat.argmax(), self.heat.shape)
        return {
            "path": self.name,
            "class_id": self.class_id,
            "label": self.label,
            "score": self.score,
            "method": self.method,
            "size": list(self.heat.shape),
            "peak": [int(it) for it in peak],
            "heat": _cells(self.heat),
        }


class Explainer:
    """A model that is ready to say where it looks.

    Args:
        bundle: labels, preprocessing and answers.
        method: how.
        model: the torch model, which the methods with gradients take, or what makes the maps of `cam`.
    """

    def __init__(self, bundle: Bundle[Any], method: Method, model: VisionModel | Cam | None = None) -> None:
        at_once = not bundle.task.one_size and bundle.manifest.only_size is None
        self.bundle = bundle.with_preprocess(window=None) if at_once else bundle  # the whole image, not a window of it
        self.method, self._model = method, model

    def seen(self, image: ImageSource, name: str = "image") -> NDArray[np.uint8]:
        """The model's input [C, H, W] from an image; of masks in the first of the sizes that it is looked at in.

        Raises:
            ImageError: it cannot be read, or is too large.
        """
        bundle = self.bundle
        pixels = bundle.preprocess(image, name)
        return bundle.task.first_input(pixels, bundle.manifest.preprocess, len(bundle.labels))

    def explain(self, seen: NDArray[np.uint8], class_id: int | None = None, name: str = "image") -> Explanation:
        """Where the model looks in what `seen` returned, for a class or for the predicted one."""
        logits = _logits(self.bundle, seen[None])[0]
        if not np.isfinite(logits).all():
            raise ImageError(f"no class of {name} can be explained", "the model's logits are not finite numbers")
        chosen = predicted_class(logits) if class_id is None else class_id
        score = float(np.exp(log_probability(logits[None], chosen, self._exclusive, _where(logits, chosen))[0]))
        heat = heat_map(self.bundle, seen, chosen, self.method, self._model)
        image = for_eyes(np.ascontiguousarray(seen.transpose(1, 2, 0)))
        return Explanation(name, chosen, self.bundle.labels[chosen], score, self.method, np.asarray(image), heat)

    @property
    def _exclusive(self) -> bool:
        return self.bundle.task.exclusive


def open_explainer(
    place: str | Path, method: str | None = None, *, device: str = "auto", runtime: str | None = None
) -> Explainer:
    """A run or a bundle, ready to say where it looks.

    Args:
        place: a run's directory, or a bundle.
        method: one of `METHODS`; None: `grad-cam` of a run, `occlusion` of a bundle.
        device, runtime: of the bundle, as `load` takes them; gradients are computed on the CPU.

    Raises:
        ConvsmithError: there is no such method, a bundle is asked for gradients, its model has no map, or it cannot
            be opened.
    """
    place = Path(place)
    is_run = holds_run(place)
    chosen = method or ("grad-cam" if is_run else "occlusion")
    if chosen not in METHODS:
        raise ConvsmithError(
            f"there is no method `{chosen}`{did_you_mean(chosen, METHODS)}", fix=f"There are {', '.join(METHODS)}."
        )
    found: Method = next(it for it in METHODS if it == chosen)
    needs_torch = found in ("grad-cam", "layer-cam")
    if needs_torch and not is_run:
        raise ConvsmithError(
            f"{found} needs gradients",
            f"{place} is a bundle, which has none",
            "Give the run, such as runs/NAME, or use --method cam, occlusion or rise.",
        )
    bundle: Bundle[Any] = load(place, None, runtime, device)
    return Explainer(bundle, found, _torch_model(place) if needs_torch else _cam(bundle) if found == "cam" else None)


def heat_map(
    bundle: Bundle[Any],
    seen: NDArray[np.uint8],
    class_id: int,
    method: Method = "occlusion",
    model: VisionModel | Cam | None = None,
) -> NDArray[np.float32]:
    """Where a class is seen in an image, float32 [H, W] in 0 to 1.

    Args:
        bundle: says how pixels are normalised, and answers where the method has no gradients.
        seen: what the model sees, uint8 [C, H, W].
        class_id: the class.
        method: how.
        model: as `Explainer` takes it.

    Raises:
        ConvsmithError: the model keeps no map of the image.
    """
    if method in ("grad-cam", "layer-cam"):
        from convsmith.analyze.heat.grad_cam import grad_cam
        from convsmith.models.base import VisionModel

        assert isinstance(model, VisionModel)
        cam: NDArray[np.float32] = grad_cam(model, _normalised(bundle, seen), [class_id], method)[0]
        return cam
    if method == "cam":
        assert isinstance(model, Cam)
        return model.heat(seen, class_id)
    logits = _logits(bundle, seen[None])[0]
    where = _where(logits, class_id)

    def score(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        return log_probability(_logits(bundle, images), class_id, bundle.task.exclusive, where)

    fill = np.rint(np.array(bundle.manifest.preprocess.mean) * 255).clip(0, 255).astype(np.uint8)
    return occlusion(score, seen, fill) if method == "occlusion" else rise(score, seen, fill)


def predicted_class(logits: NDArray[Any]) -> int:
    """The class with the highest of the logits [K]; of logits [K, H, W], the one with the most pixels."""
    if logits.ndim == 1:
        return int(logits.argmax())
    return int(np.bincount(logits.argmax(0).ravel(), minlength=len(logits)).argmax())


def log_probability(
    logits: NDArray[Any], class_id: int, exclusive: bool, where: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """The logarithm of a class's probability, [N], of logits [N, K], or its mean over pixels of logits [N, K, H, W].

    Args:
        logits: of N images.
        class_id: the class.
        exclusive: whether classes exclude each other: softmax, else the sigmoid of each.
        where: of masks, the pixels [H, W] that count.
    """
    values = logits if where is None else logits[:, :, where]
    found = log_softmax(values, axis=1)[:, class_id] if exclusive else log_sigmoid(values[:, class_id])
    return found if found.ndim == 1 else found.mean(axis=1)


def _logits(bundle: Bundle[Any], images: NDArray[np.uint8]) -> NDArray[Any]:
    """The logits of images [N, C, H, W], scaled where the bundle is calibrated."""
    by_class = np.moveaxis(bundle.logits(images), 1, -1)
    return np.moveaxis(scaled(by_class, bundle.manifest.calibration), -1, 1)


def _where(logits: NDArray[Any], class_id: int) -> NDArray[np.bool_] | None:
    """The pixels where a class is predicted, or all of them where there are none; None of logits [K]."""
    if logits.ndim == 1:
        return None
    there: NDArray[np.bool_] = logits.argmax(0) == class_id
    return there if there.any() else ~there


def _cam(bundle: Bundle[Any]) -> Cam:
    found = open_cam(bundle)
    if found is None:
        raise ConvsmithError(
            f"{bundle.path} has no map of classes",
            WHY_NONE,
            "Use --method occlusion or --method rise, which look at the answers alone.",
        )
    return found


def _torch_model(run: Path) -> VisionModel:
    from convsmith.training.checkpoints.checkpoint import best_step_folder
    from convsmith.training.pack import trained_model
    from convsmith.training.run import Run

    opened = Run(run)
    return trained_model(opened.recipe, best_step_folder(opened.checkpoints)).eval()


def _normalised(bundle: Bundle[Any], seen: NDArray[np.uint8]) -> Tensor:
    import torch

    from convsmith.models.layers import Normalize

    spec = bundle.manifest.preprocess
    normalised: Tensor = Normalize(spec.mean, spec.std)(torch.from_numpy(seen[None]))
    return normalised


def _cells(heat: NDArray[np.float32]) -> list[list[float]]:
    """Means of parts of the heat, at most 16 along a side, to three decimals."""
    rows, columns = (np.array_split(np.arange(side), min(_CELLS, side)) for side in heat.shape)
    return [[round(float(heat[np.ix_(row, column)].mean()), 3) for column in columns] for row in rows]
