"""Weights on the Hugging Face Hub, against a stand-in for it on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import save

from convsmith.models.registry import create_model
from tests.hub import Hub, python, running


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    state = create_model("cifar_resnet20", 5).state_dict()
    config = {
        "architecture": "test_resnet",
        "license": "cc-by-nc-4.0",
        "pretrained_cfg": {
            "input_size": [3, 64, 64], "crop_pct": 0.5, "interpolation": "bilinear", "mean": [0.1, 0.2, 0.3],
            "std": [0.5, 0.6, 0.7],
        },
    }  # fmt: skip
    with running(Hub({"model.safetensors": save(state), "config.json": json.dumps(config).encode()})) as hub:
        yield hub


CREATE = """
import convsmith as cs
model = cs.create_model("cifar_resnet20", 5, weights="hf:someone/digits")
print(float(model.state_dict()["linear.weight"].abs().sum()))
"""


def test_weights_of_the_hub_are_fetched_once_and_then_used_offline(hub: Hub, tmp_path: Path) -> None:
    first = python(CREATE, hub, tmp_path)
    assert first.returncode == 0, first.stderr
    hub.asked.clear()
    again = python(CREATE, hub, tmp_path, CONVSMITH_OFFLINE="1")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert hub.asked == []


def test_fetch_says_where_they_are(hub: Hub, tmp_path: Path) -> None:
    code = "from convsmith.cli.main import main; main(['weights', 'fetch', 'hf:someone/digits'])"
    told = python(code, hub, tmp_path)
    assert told.returncode == 0, told.stderr
    assert Path(told.stdout.strip()).name == "model.safetensors"
    assert Path(told.stdout.strip()).is_relative_to(tmp_path)


def test_what_the_hub_says_of_them_is_known(hub: Hub, tmp_path: Path) -> None:
    code = (
        "from convsmith.models.weights.origin import origin_of as o; print(o('hf:someone/digits', 'timm/test_resnet'))"
    )
    told = python(code, hub, tmp_path)
    assert told.returncode == 0, told.stderr
    for words in (
        "licence='cc-by-nc-4.0'",
        "mean=(0.1, 0.2, 0.3)",
        "resize=128",
        "crop=64",
        "interpolation='bilinear'",
    ):
        assert words in told.stdout


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        ("hf:someone/digits", {"CONVSMITH_OFFLINE": "1"}, "the network is not to be used"),
        ("hf:someone/else", {}, "cannot be had from the Hugging Face Hub"),
        ("hf:not/a/name", {}, "cannot be had from the Hugging Face Hub"),
    ],
)
def test_what_cannot_be_had_is_an_error_of_two_lines(
    name: str, environment: dict[str, str], message: str, hub: Hub, tmp_path: Path
) -> None:
    code = f"from convsmith.cli.main import main; main(['weights', 'fetch', {name!r}])"
    told = python(code, hub, tmp_path, **environment)
    assert told.returncode == 2
    assert message in told.stderr
    assert len(told.stderr.strip().splitlines()) == 2
