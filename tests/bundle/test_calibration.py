"""Effects of a bundle's calibration on its answers, and calibrations that are refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convsmith.bundle.calibration import Calibration, Sets, Unknown
from convsmith.bundle.classification import Classification
from convsmith.bundle.format import MANIFEST, read_manifest
from convsmith.bundle.mlflow_model import _load_pyfunc
from convsmith.bundle.multilabel import Multilabel
from convsmith.bundle.predictor import Bundle, load
from convsmith.bundle.tasks.classification import ClassAnswer
from convsmith.bundle.tasks.multilabel import TASK as MULTILABEL
from convsmith.bundle.tasks.multilabel import LabelsAnswer
from convsmith.cli.main import main
from convsmith.errors import ConvsmithError
from convsmith.jobs.predict import predict
from tests.colours import LABELS, bare_manifest, picture, write_colour_bundle
from tests.stripes import write_pixel_bundle

HALVED = 0.5
COVERAGE = 0.9
MIXED = "#504030"  # logits 8, 6.4, 4.8


def calibration(**changes: Any) -> Calibration:
    plain = {"weights": (HALVED,), "images": {"scaling": 9}, "measured": {"after": {"ece": 0.1}}}
    return Calibration(**{**plain, **changes})


def with_decisions(unknown_below: float, *thresholds: float) -> Calibration:
    return calibration(
        sets=Sets(coverage=COVERAGE, thresholds=thresholds), unknown=Unknown(threshold=unknown_below, precision=0.9)
    )


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colour bundle with halved logits, sets, and `unknown` below 0.7."""
    folder = tmp_path_factory.mktemp("bundle") / "careful"
    return write_colour_bundle(folder, calibration=with_decisions(0.7, 0.2, 0.2, 0.2))


def answer_of(bundle: Path, colour: str = MIXED) -> Classification:
    loaded: Bundle[Classification] = load(bundle)
    return loaded.predict(picture(colour))


def test_a_bundle_without_one_has_no_such_key_so_that_an_older_convsmith_reads_it(colour_bundle: Path) -> None:
    assert "calibration" not in json.loads((colour_bundle / MANIFEST).read_text())


def test_what_is_written_is_read_again(careful: Path) -> None:
    assert read_manifest(careful).calibration == with_decisions(0.7, 0.2, 0.2, 0.2)


def test_probabilities_are_those_of_the_scaled_logits(careful: Path, colour_bundle: Path) -> None:
    plain, scaled = (answer_of(it) for it in (colour_bundle, careful))
    np.testing.assert_allclose(scaled.logits, plain.logits * HALVED)
    powers = np.exp(plain.logits.astype(np.float64) * HALVED)
    np.testing.assert_allclose(scaled.probabilities, powers / powers.sum())


def test_each_class_may_have_numbers_of_its_own(tmp_path: Path, colour_bundle: Path) -> None:
    own = calibration(weights=(1.0, 2.0, 3.0), bias=(0.5, 0.0, -0.5))
    logits = answer_of(write_colour_bundle(tmp_path / "b", calibration=own)).logits
    plain = answer_of(colour_bundle).logits
    np.testing.assert_allclose(logits, plain * [1, 2, 3] + [0.5, 0, -0.5])


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=6), st.floats(0.01, 100))
def test_no_temperature_changes_the_order_of_logits(logits: list[float], weight: float) -> None:
    given_ones = np.array(logits, np.float32)
    scaled = calibration(weights=(weight,)).scaled(given_ones)
    assert (np.argsort(-scaled, kind="stable") == np.argsort(-given_ones, kind="stable")).all()


def test_a_set_has_the_classes_that_reach_their_thresholds_the_most_probable_first(careful: Path) -> None:
    answer = answer_of(careful)
    assert answer.probabilities == pytest.approx([0.588, 0.264, 0.119], abs=0.04)
    assert [it.label for it in answer.set or ()] == ["red", "green"]


def test_a_set_may_be_empty() -> None:
    logits = np.zeros(3, np.float32)
    assert Classification(logits, LABELS, calibration=with_decisions(0.5, 0.4, 0.4, 0.4)).set == []


@pytest.mark.parametrize(("colour", "unknown"), [(MIXED, True), ("#ff0000", False)])
def test_an_answer_is_unknown_where_its_probability_is_below_the_threshold(
    careful: Path, colour: str, unknown: bool
) -> None:
    assert answer_of(careful, colour).unknown is unknown


def test_a_probability_that_equals_the_threshold_is_known() -> None:
    logits = np.array([1, 0], np.float32)
    score = Classification(logits, ("a", "b")).score
    decided = calibration(unknown=Unknown(threshold=score))
    assert Classification(logits, ("a", "b"), calibration=decided).unknown is False


def test_answers_without_decisions_have_neither_key(colour_bundle: Path) -> None:
    answer = answer_of(colour_bundle)
    assert (answer.set, answer.unknown) == (None, None)
    assert set(answer.to_dict()) == {"class_id", "label", "score", "top", "meta"}


def test_json_has_both_and_fits_its_schema(careful: Path) -> None:
    said = load(careful).predict(picture(MIXED)).to_dict()
    ClassAnswer.model_validate(said)
    assert ([it["label"] for it in said["set"]], said["unknown"]) == (["red", "green"], True)


def test_mlflow_answers_the_same(careful: Path) -> None:
    (said,) = _load_pyfunc(str(careful)).predict(picture(MIXED))
    assert said == load(careful).predict(picture(MIXED)).to_dict()


def lines(careful: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, *options: str) -> list[str]:
    (tmp_path / "a.png").write_bytes(picture(MIXED))
    with pytest.raises(SystemExit):
        main(["predict", str(careful), str(tmp_path / "a.png"), *options])
    return capsys.readouterr().out.splitlines()


def test_a_line_of_print_says_both(careful: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    head, line = lines(careful, capsys, tmp_path)
    assert "unknown (red) {red, green}" in line
    assert line.index(str(tmp_path)) == head.index("IMAGE")


def test_csv_has_a_column_for_each(careful: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (row,) = csv.DictReader(lines(careful, capsys, tmp_path, "--format", "csv"))
    assert (json.loads(row["set"]), json.loads(row["unknown"])) == (["red", "green"], True)


def test_records_in_python_have_them_too(careful: Path) -> None:
    (row,) = predict(careful, [picture(MIXED)]).records()
    assert (row["set"], row["unknown"], row["error"]) == ('["red", "green"]', "true", None)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"weights": (1.0, 2.0)}, "2 weights for 3 labels"),
        ({"bias": (0.0,)}, "1 summands for 3 labels"),
        ({"sets": Sets(coverage=0.9, thresholds=(0.1, 0.1))}, "2 thresholds of sets for 3 labels"),
        ({"sets": Sets(coverage=0.9, thresholds=(0.1,) * 3, shared=(3,))}, "beyond the 3 labels"),
    ],
)
def test_one_that_does_not_fit_the_labels_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ConvsmithError, match=why):
        write_colour_bundle(tmp_path / "b", calibration=calibration(**changes))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("weights", []),
        ("weights", [float("nan")]),
        ("weights", [1e300]),
        ("bias", [float("inf")] * 3),
        ("images", {"a": 0}),
    ],
)
def test_numbers_that_no_logit_survives_are_refused(key: str, value: Any) -> None:
    plain = json.loads(calibration().model_dump_json())
    with pytest.raises(ValueError, match=key):
        Calibration.model_validate_json(json.dumps({**plain, key: value}))


def test_several_labels_say_no_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="says no class that it might not know"):
        write_colour_bundle(tmp_path / "b", task="multilabel", calibration=with_decisions(0.5, 0.1, 0.1, 0.1))


def test_masks_have_no_sets(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="says no sets"):
        write_pixel_bundle(tmp_path / "b", calibration=calibration(sets=Sets(coverage=0.9, thresholds=(0.1, 0.1, 0.1))))


@pytest.mark.parametrize("factor", [-1.0, 0.0])
def test_several_labels_have_no_factor_that_turns_a_class_around(tmp_path: Path, factor: float) -> None:
    turned = calibration(weights=(1.0, factor, 1.0))
    write_colour_bundle(tmp_path / "one", calibration=turned)
    with pytest.raises(ConvsmithError, match="not above 0"):
        write_colour_bundle(tmp_path / "several", task="multilabel", calibration=turned)


def of_several(logits: list[float], own: Calibration | None) -> Multilabel:
    manifest = bare_manifest(LABELS, task="multilabel", thresholds=(0.5, 0.3, 0.9), calibration=own)
    said = np.array(logits, np.float32)
    return MULTILABEL.answer(said if own is None else own.scaled(said), manifest)


@given(st.lists(st.floats(-8, 8, width=32), min_size=3, max_size=3))
def test_several_labels_are_decided_as_before(logits: list[float]) -> None:
    own = calibration(weights=(0.5, 2.0, 0.7), bias=(0.3, -1.0, 0.2))
    assert of_several(logits, own).class_ids == sorted(
        of_several(logits, None).class_ids, key=lambda k: -(logits[k] * own.weights[k] + (own.bias or ())[k])
    )


def test_a_set_of_several_labels_has_those_that_may_be_there() -> None:
    own = calibration(weights=(1.0,), sets=Sets(coverage=0.9, thresholds=(0.1, 0.2, 0.3)))
    answer = of_several([0.0, -1.5, -1.0], own)
    assert [it.label for it in answer.labels] == ["red"]
    assert [it.label for it in answer.set or ()] == ["red"]
    assert [it.label for it in of_several([0.0, -1.0, -0.5], own).set or ()] == ["red", "blue", "green"]
    LabelsAnswer.model_validate({**answer.to_dict(), "meta": {"runtime": "", "device": "", "provider": ""}})
    assert MULTILABEL.csv_rows(answer)[0][-1] == '["red"]'
    assert MULTILABEL.entries(answer)[-1] == ("set", "{red}")
