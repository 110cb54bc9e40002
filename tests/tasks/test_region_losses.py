"""Dice and Lovasz-Softmax against slow code that follows the papers pixel by pixel."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convsmith.spec import IGNORED
from convsmith.tasks.segmentation_losses import dice, lovasz_softmax
from tests.tasks.training_goldens import normal

CLASSES = 4


def example(labels: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Logits [1, 4, 1, W] and masks of the labels."""
    return normal(seed, 1, CLASSES, 1, len(labels)).requires_grad_(), torch.tensor(labels)[None, None]


def pixels(logits: Tensor, target: Tensor) -> tuple[Tensor, list[int]]:
    """Probabilities [M, K] and labels of the pixels that count."""
    valid = target.flatten() != IGNORED
    return logits.softmax(1)[0, :, 0].T[valid], target.flatten()[valid].tolist()


def slow_dice(logits: Tensor, target: Tensor) -> Tensor:
    p, labels = pixels(logits, target)
    terms = []
    for label in set(labels):
        overlap = sum(p[i, label] for i, it in enumerate(labels) if it == label)
        sizes = p[:, label].sum() + labels.count(label)
        terms.append(1 - 2 * overlap / sizes)
    return torch.stack(terms).mean() if terms else 0 * logits.sum()


def slow_lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """The Lovasz extension, from its definition: errors in descending order, times what each pixel adds to 1 - IoU."""
    p, labels = pixels(logits, target)
    terms = []
    for label in set(labels):
        errors = [1 - p[i, label] if it == label else p[i, label] for i, it in enumerate(labels)]
        order = sorted(range(len(labels)), key=lambda i: -errors[i].item())
        members, term, before = {i for i, it in enumerate(labels) if it == label}, 0 * p.sum(), 0.0
        for count, i in enumerate(order, 1):
            wrong = set(order[:count])  # were these mispredicted, and no others
            predicted = (members - wrong) | (wrong - members)
            loss = 1 - len(members & predicted) / len(members | predicted)
            term = term + errors[i] * (loss - before)
            before = loss
        terms.append(term)
    return torch.stack(terms).mean() if terms else 0 * logits.sum()


LABELS = st.lists(st.sampled_from([0, 1, 2, IGNORED]), min_size=1, max_size=12)  # class 3 never occurs


@settings(deadline=None)
@given(LABELS, st.integers(0, 10**6))
def test_dice_is_its_formula(labels: list[int], seed: int) -> None:
    logits, target = example(labels, seed)
    found, expected = dice(logits, target), slow_dice(logits, target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(*(torch.autograd.grad(it, logits)[0] for it in (found, expected)))


@settings(deadline=None)
@given(LABELS, st.integers(0, 10**6))
def test_lovasz_softmax_is_its_definition(labels: list[int], seed: int) -> None:
    logits, target = example(labels, seed)
    found, expected = lovasz_softmax(logits, target), slow_lovasz(logits, target)
    assert found.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(*(torch.autograd.grad(it, logits)[0] for it in (found, expected)))


@pytest.mark.parametrize("loss", [dice, lovasz_softmax])
def test_a_batch_is_one_set_of_pixels(loss: type[Tensor]) -> None:
    logits, target = normal(0, 2, CLASSES, 3, 5), torch.arange(30).reshape(2, 3, 5) % 3
    beside = [torch.cat(list(it), -1)[None] for it in (logits, target)]
    assert loss(logits, target).item() == pytest.approx(loss(*beside).item(), rel=1e-12)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=12), st.integers(0, 10**6))
def test_a_certain_prediction_costs_what_its_measure_says(labels: list[int], seed: int) -> None:
    answers = torch.from_numpy(normal(seed, CLASSES, len(labels)).numpy()).argmax(0)
    logits = 500.0 * torch.nn.functional.one_hot(answers, CLASSES).double().T[None, :, None]
    target = torch.tensor(labels)
    ious, coefficients = [], []
    for label in set(labels):
        hit, either = (((answers == label) & (target == label)).sum(), ((answers == label) | (target == label)).sum())
        ious.append(hit / either)
        coefficients.append(2 * hit / (either + hit))
    found = [loss(logits, target[None, None]).item() for loss in (lovasz_softmax, dice)]
    expected = [1 - torch.stack(measure).mean().item() for measure in (ious, coefficients)]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_slope_of_lovasz_softmax_is_exact_in_float32() -> None:
    size = 512
    logits = normal(0, 1, 2, size, size).float().requires_grad_()
    target = (torch.arange(size * size).reshape(1, size, size) % 2).long()
    gradients = [
        torch.autograd.grad(lovasz_softmax(x, target), x)[0]
        for x in (logits, logits.detach().double().requires_grad_())
    ]
    torch.testing.assert_close(gradients[0], gradients[1].float(), rtol=1e-3, atol=1e-9)


def test_a_label_that_is_no_class_raises() -> None:
    logits, _ = example([0, 1], 0)
    for loss in (dice, lovasz_softmax):
        with pytest.raises(RuntimeError):
            loss(logits, torch.tensor([[[0, CLASSES]]]))
