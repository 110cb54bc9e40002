"""A training in real W&B runs, kept offline and read back from W&B's own files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import convsmith as cs
from convsmith.errors import install_command, missing_package
from convsmith.training.observers.trackers.wandb import WandB
from convsmith.training.run import flat
from tests.training.conftest import SMALL
from tests.training.test_mlflow import After

REPORTS_AT_END = True

RECIPE = cs.load_recipe("digits", SMALL)


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    pytest.importorskip("wandb", reason="wandb is not installed: pip install '.[wandb]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        yield


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(RECIPE, digits, tmp_path_factory.mktemp("runs") / "four-digits", observers=[WandB()])


def records(run: cs.Run) -> list[Any]:
    """All that W&B has kept, the oldest run first: protobuf records in a log of blocks as LevelDB writes them."""
    proto = import_module("wandb.proto.wandb_internal_pb2")  # makes its names as it runs: mypy knows none of them
    found = []
    for file in sorted(run.path.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime_ns):
        data, at, part = file.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:  # too little is left of a block for a header
                at += 32768 - at % 32768
                continue
            length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
            part += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # the whole of a record, or its last part
                found.append(proto.Record.FromString(part))
                part = b""
    return found


def rows(run: cs.Run) -> list[dict[str, Any]]:
    """The figures in the history, without W&B's own keys."""
    history = []
    for record in records(run):
        if record.HasField("history"):
            items = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
            history.append({key: value for key, value in items.items() if not key.startswith("_")})
    return [row for row in history if "epoch" in row]


def expected(run: cs.Run) -> list[dict[str, Any]]:
    place = ("step", "epoch")
    return [
        {name if name in place else f"{line['split']}/{name}": value for name, value in line.items() if name != "split"}
        for line in run.metrics
    ]


def test_its_history_is_that_of_the_run(run: cs.Run) -> None:
    assert rows(run) == expected(run)


def test_its_pictures_are_those_of_the_run(run: cs.Run) -> None:
    kept = [path.read_bytes() for path in run.path.glob("wandb/offline-run-*/files/media/images/pictures/*.png")]
    assert sorted(kept) == sorted(path.read_bytes() for path in run.pictures.glob("*.png"))
    assert len(kept) == 2


def test_its_configuration_is_the_resolved_recipe_and_its_name_the_directorys(run: cs.Run) -> None:
    (begun,) = (record.run for record in records(run) if record.HasField("run"))
    logged = {item.key: json.loads(item.value_json) for item in begun.config.update if item.key != "_wandb"}
    assert logged == json.loads(json.dumps(flat(run.recipe.model_dump(mode="json"))))
    assert (begun.display_name, begun.project) == ("four-digits", "convsmith")


def test_its_artifact_is_the_bundle_once(run: cs.Run, digits: Path) -> None:
    cs.train(RECIPE, digits, run.path, observers=[WandB()])
    (artifact,) = (record.artifact for record in records(run) if record.HasField("artifact"))
    assert artifact.type == "model"
    assert {entry.path for entry in artifact.manifest.contents} == {"README.md", "bundle.json", "model.onnx"}
    assert rows(run) == expected(run)


def test_a_run_that_goes_on_does_so_in_the_same_run_whose_figures_come_once(digits: Path, tmp_path: Path) -> None:
    def crash() -> None:
        raise RuntimeError("as if killed")

    run = cs.Run(tmp_path / "run")
    with pytest.raises(RuntimeError, match="as if killed"):
        cs.train(RECIPE, digits, run.path, observers=[WandB(), After(12, crash)])
    cs.train(RECIPE, digits, run.path, observers=[WandB()])
    begun = [record.run.run_id for record in records(run) if record.HasField("run")]
    assert len(begun) == 2
    assert len(set(begun)) == 1
    assert [(row["step"], sorted(row)) for row in rows(run)] == [(row["step"], sorted(row)) for row in expected(run)]


def test_without_a_key_it_costs_a_warning_and_never_the_training(run: cs.Run, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "convsmith.cli.main", "train", "digits", "--data", str(digits), "--out", str(out)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    environment["HOME"] = str(tmp_path)  # where W&B looks for a key
    result = subprocess.run(
        [*command, "--tracker", "wandb", *SMALL], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("warning: W&B cannot be reached, the training goes on without") == 1
    weights = [(it.checkpoints / "last" / "model.safetensors").read_bytes() for it in (run, cs.Run(out))]
    assert weights[0] == weights[1]


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        WandB()
    assert install_command("wandb") in str(missing_package(caught.value))
