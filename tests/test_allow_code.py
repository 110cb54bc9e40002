"""Code that a bundle may hold runs only where the caller says so."""

from __future__ import annotations

from inspect import signature

import pytest

import convsmith as cs

FUNCTIONS = [
    name
    for name in cs.__all__
    if callable(getattr(cs, name)) and "allow_code" in signature(getattr(cs, name)).parameters
]


def test_what_opens_a_bundle_can_be_allowed_to_run_its_code() -> None:
    assert {"benchmark", "compare", "evaluate"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_function_runs_code_unless_it_is_allowed(name: str) -> None:
    assert signature(getattr(cs, name)).parameters["allow_code"].default is False
