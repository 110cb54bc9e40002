"""Temperature and vector scaling, against an optimum that torch's L-BFGS finds of the same loss written anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from convsmith.analyze.fit_scaling import Scaling, fit_temperature, fit_vector, log_loss
from convsmith.errors import ConvsmithError

CLASSES = 4
KINDS = pytest.mark.parametrize("exclusive", [True, False], ids=["softmax", "sigmoid"])


def drawn(exclusive: bool, rows: int = 300, sureness: float = 3.0) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits that are `sureness` times what they should be, and what is true by them."""
    random = np.random.RandomState(0)
    honest = random.standard_normal((rows, CLASSES)) * 2
    if exclusive:
        true = (honest + random.gumbel(size=honest.shape)).argmax(axis=1)
        return honest * sureness, true[:, None] == np.arange(CLASSES)
    return honest * sureness, honest + random.logistic(size=honest.shape) > 0


def applied(found: Scaling, logits: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = logits * np.array(found.weights) + np.array(found.bias)
    return scaled


def loss_of(logits: torch.Tensor, truth: torch.Tensor, exclusive: bool) -> torch.Tensor:
    if exclusive:
        return functional.cross_entropy(logits, truth.double().argmax(dim=1), reduction="sum")
    return functional.binary_cross_entropy_with_logits(logits, truth.double(), reduction="sum")


def minimised(parameters: list[torch.Tensor], loss: Callable[[], torch.Tensor]) -> None:
    optimizer = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=1e-11, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]


@KINDS
@pytest.mark.parametrize("sureness", [0.01, 0.3, 3.0, 300.0])
def test_the_temperature_is_the_optimum(exclusive: bool, sureness: float) -> None:
    logits, truth = drawn(exclusive, sureness=sureness)
    factor = fit_temperature(logits, truth, exclusive)
    weight = torch.tensor(0.9 / sureness, dtype=torch.float64, requires_grad=True)
    x, t = torch.from_numpy(logits), torch.from_numpy(truth)
    minimised([weight], lambda: loss_of(x * weight, t, exclusive))
    assert factor == pytest.approx(weight.item(), rel=1e-6)
    assert factor == pytest.approx(1 / sureness, rel=0.2)


@KINDS
def test_the_numbers_of_each_class_are_the_optimum(exclusive: bool) -> None:
    logits, truth = drawn(exclusive)
    factor = fit_temperature(logits, truth, exclusive)
    assert factor is not None
    found = fit_vector(logits, truth, exclusive, factor)
    weights, bias = (torch.full((CLASSES,), start, dtype=torch.float64, requires_grad=True) for start in (1.0, 0.0))
    x, t = torch.from_numpy(logits) * factor, torch.from_numpy(truth)

    def loss() -> torch.Tensor:
        return loss_of(x * weights + bias, t, exclusive) + ((weights - 1) ** 2).sum() / 2 + (bias**2).sum() / 2

    minimised([weights, bias], loss)
    np.testing.assert_allclose(found.weights, weights.detach() * factor, rtol=1e-6)
    np.testing.assert_allclose(found.bias or (), bias.detach(), atol=1e-6)


@KINDS
def test_a_vector_fits_no_worse_than_a_temperature(exclusive: bool) -> None:
    logits, truth = drawn(exclusive)
    logits = logits * [1, 2, 3, 4] + [0, 1, 0, -2]
    factor = fit_temperature(logits, truth, exclusive)
    assert factor is not None
    found = fit_vector(logits, truth, exclusive, factor)
    vector = log_loss(applied(found, logits), truth, exclusive)
    assert vector < log_loss(logits * factor, truth, exclusive) - 0.02


def sure(truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(truth, 4.0, -4.0)


@KINDS
def test_there_is_no_best_temperature_where_all_is_right(exclusive: bool) -> None:
    truth = np.eye(CLASSES, dtype=np.bool_)
    assert fit_temperature(sure(truth), truth, exclusive) is None


def test_rows_that_are_all_right_have_numbers_of_each_class_nevertheless() -> None:
    truth = np.tile(np.eye(CLASSES, dtype=np.bool_), (9, 1))
    found = fit_vector(sure(truth), truth, True, 1.0)
    assert np.isfinite([*found.weights, *(found.bias or ())]).all()


@KINDS
def test_logits_that_know_less_than_chance_are_an_error(exclusive: bool) -> None:
    logits, truth = drawn(exclusive)
    with pytest.raises(ConvsmithError, match="say no more of these images than chance"):
        fit_temperature(-logits, truth, exclusive)


def test_a_class_whose_logit_says_the_opposite_is_not_turned_around() -> None:
    logits, truth = drawn(exclusive=False)
    logits[:, 1] *= -1
    factor = fit_temperature(logits, truth, exclusive=False)
    assert factor is not None
    found = fit_vector(logits, truth, False, factor)
    assert (found.weights[1], (found.bias or ())[1]) == (factor, 0.0)
    assert min(found.weights) > 0


def test_a_thousand_classes_with_few_images_each_are_fitted() -> None:
    random = np.random.RandomState(1)
    true = np.arange(300) % 100
    logits = random.standard_normal((300, 100)) * 5 + 8 * np.eye(100)[true]
    truth = true[:, None] == np.arange(100)
    found = fit_vector(logits, truth, True, 0.5)
    assert log_loss(applied(found, logits), truth, True) < log_loss(logits * 0.5, truth, True)
