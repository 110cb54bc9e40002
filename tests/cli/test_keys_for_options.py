"""An option that does not exist, but is a key, says how the key is written."""

from __future__ import annotations

import pytest

from convsmith.cli.main import main

PLAN = ["plan", "digits", "--num-samples", "100"]


def error_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--epochs", "3"], "schedule.epochs=3"),
        (["--epochs=3"], "schedule.epochs=3"),
        (["--lr", "0.1", "seed=3"], "optimizer.lr=0.1"),
        (["--learning-rate", "0.1"], "optimizer.lr=0.1"),
        (["--batch-size", "32"], "batch.size=32"),
        (["--num-classes", "4"], "model.num_classes=4"),
        (["--model", "resnet18"], "model.name=resnet18"),
        (["--optimizer", "sgd"], "optimizer.name=sgd"),
        (["--seed=4"], "seed=4"),
        (["--eval", "seed=4"], "eval=true"),
    ],
)
def test_a_key_of_the_recipe_is_written_without_dashes(
    given: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error_of(capsys, *PLAN, *given) == (
        f"error: there is no option `{given[0].partition('=')[0]}`\nKeys are written without dashes: {meant}\n"
    )


def test_so_is_a_key_of_how_to_segment(capsys: pytest.CaptureFixture[str]) -> None:
    assert "dashes: flip=true" in error_of(capsys, "evaluate", "bundle", "--data", "photos", "--flip")


@pytest.mark.parametrize(
    "given", [[*PLAN, "--foo", "3"], ["models", "--epochs", "3"], ["--epochs"], [*PLAN, "--devices"]]
)
def test_what_is_no_key_is_left_to_the_usual_words(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = error_of(capsys, *given)
    assert "Error: " in said
    assert "Keys are written" not in said
