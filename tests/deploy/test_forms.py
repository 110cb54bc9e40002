"""What is printed of a model in two forms: size, speed, what they get right, and how that was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from convsmith.deploy.forms import Form, form_of
from convsmith.deploy.quantization import Quantization
from convsmith.deploy.speed import Speed
from convsmith.deploy.static_int8 import FloatLayer
from convsmith.deploy.trial import Verdict

FLOAT = Form(2_000_000, 3.0, 400.0, {"top1": 0.9}, ece=0.02)
INT8 = Form(500_000, 1.25, 900.25, {"top1": 0.875}, ece=0.03125)

TABLE = """
 model     MB     ms   images/s    top-1   calibration error
 ───────────────────────────────────────────────────────────
 float   2.00   3.00      400.0   90.00%              0.0200
 INT8    0.50   1.25      900.2   87.50%              0.0312

onnxruntime, 2 threads, images of 32x48; latency of one image, throughput of batches of 8; top-1 of 200 validation \
images
INT8: 25.0% of the size, 2.4 times as fast, 2.50 points lost (95 %: 0.40 gained to 5.40 lost), 98.50% of the answers \
the same
"""


NOT_TIMED = """
 model     MB    top-1   calibration error
 ─────────────────────────────────────────
 float   2.00   90.00%              0.0200
 INT8    0.50   87.50%              0.0312

top-1 of 200 validation images
INT8: 25.0% of the size, 2.50 points lost (95 %: 0.40 gained to 5.40 lost), 98.50% of the answers the same
"""


def not_timed() -> Quantization:
    """The same report where speed was not measured."""
    forms = {
        name: replace(form, latency_ms=None, images_per_second=None) for name, form in quantization().forms.items()
    }
    return quantization(threads=None, batch=None, size=None, float_model=forms["float"], int8_model=forms["INT8"])


def quantization(**changes: Any) -> Quantization:
    """Report on a model with 20 layers, judged by 200 images."""
    figures: dict[str, Any] = {
        "method": "static",
        "metric": "top1",
        "drop": 2.5,
        "interval": (-0.4, 5.4),
        "chance": 0.1,
        "images": 200,
        "threads": 2,
        "batch": 8,
        "size": (32, 48),
        "float_model": FLOAT,
        "int8_model": INT8,
        "parity": {"top1_agreement": 0.985},
        "layers": 20,
        "target": "vnni",
    }
    return Quantization(**(figures | changes))


def further_lines(**changes: Any) -> list[str]:
    """What is printed beside the table and the two lines below it."""
    return [str(part) for part in quantization(**changes).parts()][3:]


def test_both_forms_are_held_side_by_side() -> None:
    assert str(quantization()) == TABLE.removesuffix("\n")


def test_a_row_has_the_figures_of_a_form() -> None:
    assert quantization(int8_model=Form(7, 1.5, 3.5, {"miou": 0.5})).records() == [
        {"model": "float", "bytes": 2_000_000, "latency_ms": 3.0, "images_per_second": 400.0, "top1": 0.9, "ece": 0.02},
        {"model": "INT8", "bytes": 7, "latency_ms": 1.5, "images_per_second": 3.5, "miou": 0.5},
    ]


def test_a_speed_that_was_not_measured_is_left_out() -> None:
    assert str(not_timed()) == NOT_TIMED.removesuffix("\n")
    assert not_timed().faster is None
    assert not_timed().records()[0] == {"model": "float", "bytes": 2_000_000, "top1": 0.9, "ece": 0.02}


@pytest.mark.parametrize("report", [not_timed, quantization])
def test_what_a_bundle_keeps_of_it_is_read_with_and_without_a_speed(report: Callable[[], Quantization]) -> None:
    kept = json.loads(json.dumps(report().to_dict()))
    assert TypeAdapter(Quantization).validate_python(kept) == report()


def test_a_form_is_an_onnx_file_with_its_figures() -> None:
    assert form_of(b"12345", None, {"top1": 0.5}) == Form(5, None, None, {"top1": 0.5}, None)
    assert form_of(b"12345", Speed(1.5, 30.0), {"top1": 0.5}) == Form(5, 1.5, 30.0, {"top1": 0.5}, None)


def test_a_calibration_error_that_one_form_lacks_is_left_out() -> None:
    assert "calibration error" not in str(quantization(int8_model=Form(500_000, 1.5, 900.25, {"top1": 0.875})))


def test_a_form_at_chance_has_a_note() -> None:
    assert further_lines() == []
    notes = [str(part) for part in quantization(chance=0.83).parts()][2:-1]
    assert notes == [
        "note: INT8 is no better than chance: always naming the most frequent class has 83.00%; it has learned nothing "
        "that these images show"
    ]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        (
            {"held_out": Verdict(0.125, 1, 1, 0, 0), "rule": "mse", "calibration_images": 51, "held_out_images": 49},
            ["ranges by mse of 51 training images; chosen by 49 others, with 0.12 points lost there"],
        ),
        (
            {"any_x86": Verdict(1.5, 1, 1, 0, 0)},
            [
                "for vnni only: the form for any x86, whose weights have 7 bits, has 1.50 points lost on the held-out "
                "images; without VNNI this one's sums may be cut off"
            ],
        ),
        (
            {"float_layers": (FloatLayer("a\x1b", "it is loud"), FloatLayer("b", "so is it")), "note": "no more"},
            ["float: a\\x1b, it is loud", "float: b, so is it", "no more"],
        ),
        ({"max_drop": 2.5}, []),
        (
            {"max_drop": 2.4},
            [
                "note: the validation images lose more than the 2.4 points that the held-out training images were "
                "allowed; more --images know it better, a lower --max-drop keeps more layers in float"
            ],
        ),
        ({"run": "runs/a"}, ["run:    runs/a"]),
    ],
)
def test_what_else_is_known_of_an_int8_model_has_a_line(changes: dict[str, Any], lines: list[str]) -> None:
    assert further_lines(**changes) == lines
