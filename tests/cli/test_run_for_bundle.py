"""Commands that take a bundle take a run too, which has one inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from convsmith.analyze.benchmark import benchmark
from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.cli.main import main
from tests.colours import picture, write_colour_bundle
from tests.serve.running import post, served_by_command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("description: colours\n")
    write_colour_bundle(tmp_path / "run" / "bundle")
    return tmp_path / "run"


def test_predict(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(picture("green"))
    with pytest.raises(SystemExit, match="0"):
        main(["predict", str(run), str(tmp_path / "a.png"), "--format", "csv"])
    assert ",green," in capsys.readouterr().out


def test_evaluate(run: Path, tmp_path: Path) -> None:
    for colour in ("red", "blue"):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        (tmp_path / "photos" / colour / "a.png").write_bytes(picture(colour))
    assert evaluate_bundle(run, tmp_path / "photos").top1 == 1
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", str(run), "--data", str(tmp_path / "photos"), "--json"])


def test_benchmark(run: Path) -> None:
    assert {row.bundle for row in benchmark([run], (), [1], seconds=0.01).rows} == {str(run / "bundle")}


def test_serve(run: Path) -> None:
    with served_by_command(run) as (_, url):
        assert post(url, picture("blue")).json()["label"] == "blue"
