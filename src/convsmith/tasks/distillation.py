"""Learning from a teacher: how far a student is from it, in its logits or in its features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convsmith.models.base import ImageClassifier
from convsmith.recipe.objective import Distillation
from convsmith.spec import IGNORED

TeacherFunction = Callable[[Tensor], Tensor]
"""From the student's images [N, C, H, W] to the teacher's logits [N, K] or [N, K, H, W], or its features [N, D]."""


def divergence(student: Tensor, teacher: Tensor, temperature: float, times_squared: bool = True) -> Tensor:
    """KL divergence of softened predictions, the mean over the batch (Hinton et al. 2015, arXiv:1503.02531).

    Args:
        student: logits [N, K].
        teacher: logits [N, K].
        temperature: divides both.
        times_squared: multiply by temperature squared (as timm does), which keeps the size of the gradient.
    """
    log_p, log_q = ((logits / temperature).log_softmax(1) for logits in (student, teacher))
    kl = F.kl_div(log_p, log_q, reduction="batchmean", log_target=True)
    return kl * temperature**2 if times_squared else kl


def logits_distance(spec: Distillation, student: Tensor, teacher: Tensor) -> Tensor:
    """How far logits [N, K] are from a teacher's, by `spec.kind`, which is `logits` or `hard`."""
    if spec.kind == "hard":
        return F.cross_entropy(student, teacher.argmax(1))
    return divergence(student, teacher, spec.temperature, spec.times_squared_temperature)


def label_distance(spec: Distillation, student: Tensor, teacher: Tensor) -> Tensor:
    """How far logits [N, K] of several labels are from a teacher's, by `spec.kind`, which is `logits` or `hard`.

    Each class is a question of its own with two answers: the KL divergence of the softened sigmoids, or the binary
    cross-entropy with what the teacher holds for more likely than not; the mean over images and classes.
    """
    if spec.kind == "hard":
        return F.binary_cross_entropy_with_logits(student, (teacher > 0).to(student.dtype))
    soft, wanted = student / spec.temperature, teacher / spec.temperature
    answers = (
        F.logsigmoid(sign * wanted).exp() * (F.logsigmoid(sign * wanted) - F.logsigmoid(sign * soft))
        for sign in (1, -1)
    )
    kl = torch.stack(list(answers)).sum(0).mean()
    return kl * spec.temperature**2 if spec.times_squared_temperature else kl


def pixel_distance(spec: Distillation, student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    """`logits_distance` of the student's pixels that are in the image, 0 if there are none.

    Args:
        spec: what is compared, and how.
        student: logits [N, K, h, w].
        teacher: logits [N, K, H, W], which are brought to the student's size.
        targets: masks [N, H', W'], whose ignored pixels do not count: the border of a scaled image is among them.
    """
    size = student.shape[-2:]
    teacher = F.interpolate(teacher, size, mode="bilinear")
    counts = F.interpolate(targets[:, None].float(), size)[:, 0] != IGNORED
    own, wanted = (logits.movedim(1, -1)[counts] for logits in (student, teacher))
    return logits_distance(spec, own, wanted) if len(own) else 0 * student.sum()


def similarity_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """How differently two networks see which images of a batch are alike (Tung and Mori 2019, arXiv:1907.09682).

    The products of all pairs of features, [N, N], with rows of length 1; the squared distance of the student's to the
    teacher's, divided by N^2.

    Args:
        student: features [N, D].
        teacher: features [N, E].
    """
    own, wanted = (F.normalize(x @ x.T) for x in (student.flatten(1), teacher.flatten(1)))
    return F.mse_loss(own, wanted)


class FeatureTap:
    """Keeps what goes into the last layer of a classifier during training, until it is taken.

    It stays hooked to the layer, because compiled code sees only hooks that were there when it was compiled. What wraps
    the classifier (DistributedDataParallel, torch.compile) fills the tap too; a copy of the classifier does not.

    Args:
        classifier: what is tapped.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        self._features: Tensor | None = None
        classifier._head_layer(classifier.heads[-1]).register_forward_pre_hook(self._keep)

    def _keep(self, layer: nn.Module, inputs: tuple[Tensor]) -> None:
        if layer.training:  # an evaluation must not leave its last batch here
            self._features = inputs[0]

    def take(self) -> Tensor:
        """The features [N, D] of the last forward pass; a second call has none."""
        features, self._features = self._features, None
        assert features is not None, "no forward pass went through the model that the tap was put on"
        return features

    def forget(self) -> None:
        """Keep nothing."""
        self._features = None


class Distiller:
    """Runs student and teacher on a batch and compares them as a recipe says.

    Args:
        spec: what is compared, and how.
        teacher: gives features for the kind `features`, else logits.
        student: the model itself, before anything wraps it.
        distance: compares logits.
    """

    def __init__(
        self,
        spec: Distillation,
        teacher: TeacherFunction,
        student: ImageClassifier,
        distance: Callable[[Distillation, Tensor, Tensor], Tensor] = logits_distance,
    ) -> None:
        self._spec, self._teacher, self._distance = spec, teacher, distance
        self._tap = FeatureTap(student) if spec.kind == "features" else None

    def __call__(self, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
        """The student's logits [N, K], and its distance from the teacher, a scalar in float32.

        Args:
            model: the student, or what wraps it.
            images: normalised floats [N, C, H, W].
        """
        wanted = self._teacher(images).float()
        try:
            return self._compared(model, images, wanted)
        finally:
            if self._tap is not None:
                self._tap.forget()  # a pass that failed, for want of memory, must leave nothing

    def _compared(self, model: nn.Module, images: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        spec, logits = self._spec, model(images)
        with torch.autocast(images.device.type, enabled=False):
            if self._tap is not None:
                distance = spec.similarity_weight * similarity_distance(self._tap.take().float(), wanted)
            else:
                distance = self._distance(spec, logits.float(), wanted)
        return logits, distance
