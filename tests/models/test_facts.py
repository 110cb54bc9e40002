from __future__ import annotations

import pytest

from convsmith.models.facts import list_facts, measure
from convsmith.models.registry import default_size, list_models
from convsmith.models.weights.published import list_weights, weights
from tests.models.golden import OFFICIAL, golden

REGENERATE = "facts.json is out of date; `python -m convsmith.models.facts` writes it anew"
QUICK = ["cifar_resnet20", "resnet18", "mobilenet_v2", "convnext_tiny"]


def test_there_are_facts_of_every_model() -> None:
    assert list(list_facts()) == list_models(), REGENERATE


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in list_models()]
)
def test_facts_are_what_is_measured(name: str) -> None:
    assert measure(name) == list_facts(name)[name], REGENERATE


@pytest.mark.parametrize("official", [name for name, (_, options) in OFFICIAL.items() if not options])
def test_facts_are_those_of_the_official_code(official: str) -> None:
    expected = golden(official)
    (facts,) = list_facts(OFFICIAL[official][0]).values()
    assert facts.params == expected["params"]
    sizes = {"x".join(map(str, expected["input_size"])): expected["gmacs"], **expected.get("gmacs_at", {})}
    assert facts.gmacs == pytest.approx(sizes["x".join(map(str, facts.size))], abs=1e-4)


def test_every_size_is_that_of_the_family() -> None:
    assert {name: facts.size for name, facts in list_facts().items()} == {
        name: default_size(name) for name in list_models()
    }, REGENERATE


def test_classifiers_are_measured_at_a_size_that_weights_were_published_for() -> None:
    for name, facts in list_facts().items():
        rules = [weights(w).preprocessing for w in list_weights(name)]
        crops = {rule.crop for rule in rules if rule}
        assert facts.task == "segmentation" or not crops or facts.size[0] in crops
