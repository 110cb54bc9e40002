from __future__ import annotations

import pytest
import torch

import convsmith as cs
from convsmith.data.loading.loader import default_workers
from convsmith.launch.world import World
from convsmith.training.parts import loader_workers

CPU = torch.device("cpu")


@pytest.mark.parametrize("number", [0, 7])
def test_a_recipe_says_how_many_processes_load(number: int) -> None:
    assert loader_workers(cs.load_recipe("digits", [f"data.workers={number}"]), CPU, World()) == number


def test_otherwise_as_many_load_as_suit_the_machine() -> None:
    assert loader_workers(cs.load_recipe("digits", ["data.workers=auto"]), CPU, World()) == default_workers("cpu")
