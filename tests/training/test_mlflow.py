"""A training in a real MLflow store, read back with MLflow's own client."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import convsmith as cs
from convsmith.errors import install_command, missing_package
from convsmith.training.observers import tracker
from convsmith.training.observers.base import Observer, Record
from convsmith.training.observers.trackers.mlflow import MLflow
from convsmith.training.run import flat
from tests.training.conftest import SMALL

REPORTS_AT_END = True

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RECIPE = cs.load_recipe("digits", SMALL)


@pytest.fixture(scope="module", autouse=True)
def _needs_mlflow() -> None:
    pytest.importorskip("mlflow", reason="mlflow is not installed: pip install '.[mlflow]'")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:  # MLflow puts the files of a new experiment into the current folder
        patch.chdir(folder)
        client = _client(f"sqlite:///{folder / 'mlflow.db'}")
        client.create_experiment("convsmith")
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.mark.parametrize(
    ("argument", "variable", "experiment"),
    [("mine", "theirs", "mine"), (None, "theirs", "theirs"), (None, None, "convsmith")],
)
def test_an_argument_names_the_experiment_or_else_a_variable(
    monkeypatch: pytest.MonkeyPatch, argument: str | None, variable: str | None, experiment: str
) -> None:
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    if variable:
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", variable)
    assert MLflow("sqlite://", argument)._experiment == experiment


@pytest.fixture(scope="module")
def run(digits: Path, store: str, tmp_path_factory: pytest.TempPathFactory) -> cs.Run:
    return cs.train(RECIPE, digits, tmp_path_factory.mktemp("runs") / "four-digits", observers=[MLflow(store)])


def test_variables_of_the_process_are_as_they_were_once_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    before = dict(os.environ)
    tracker = MLflow("sqlite://")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    tracker.close()
    assert dict(os.environ) == before


def _client(store: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(store)


def tracked(run: cs.Run) -> tuple[MlflowClient, Run]:
    note = json.loads((run.path / "mlflow.json").read_text())
    client = _client(note["tracking_uri"])
    return client, client.get_run(note["run_id"])


def figures(run: cs.Run) -> Counter[tuple[str, int, float]]:
    """What MLflow has, (name, step, value), and how often."""
    client, found = tracked(run)
    history = [metric for name in found.data.metrics for metric in client.get_metric_history(found.info.run_id, name)]
    return Counter((metric.key, metric.step, metric.value) for metric in history)


def lines(run: cs.Run) -> Counter[tuple[str, int, float]]:
    """The same from metrics.jsonl."""
    place = ("step", "epoch", "split")
    return Counter(
        (f"{line['split']}/{name}", line["step"], value)
        for line in run.metrics
        for name, value in line.items()
        if name not in place
    )


def test_the_run_has_the_directorys_name_and_is_finished(run: cs.Run) -> None:
    _, found = tracked(run)
    assert (found.info.run_name, found.info.status) == ("four-digits", "FINISHED")


def test_its_parameters_are_the_keys_of_the_resolved_recipe(run: cs.Run) -> None:
    _, found = tracked(run)
    assert found.data.params.keys() == flat(run.recipe.model_dump()).keys()
    assert found.data.params["batch.size"] == "8"
    assert found.data.params["model.num_classes"] == "4"
    assert found.data.params["preprocess.mean"] == json.dumps(list(run.recipe.preprocess.mean))


def test_its_figures_by_step_are_those_of_the_run(run: cs.Run) -> None:
    assert figures(run) == lines(run)


def test_its_files_are_the_bundle_the_recipe_and_the_plan(run: cs.Run) -> None:
    _, found = tracked(run)
    place = Path(found.info.artifact_uri)
    names = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
    bundle = {"bundle/README.md", "bundle/bundle.json", "bundle/model.onnx"}
    assert names == {*bundle, "pictures/confusion.png", "pictures/errors.png", "recipe.yaml", "plan.json"}


@pytest.fixture(scope="module")
def model_path(run: cs.Run) -> Path:
    client, found = tracked(run)
    (logged,) = client.search_logged_models([found.info.experiment_id], f"source_run_id='{found.info.run_id}'")
    assert logged.status == "READY"
    return Path(logged.artifact_location)


@pytest.fixture(scope="module")
def model(model_path: Path) -> Any:
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(model_path))


def test_its_models_signature_is_binary(model: Any) -> None:
    from mlflow.types import DataType

    assert model.metadata.get_input_schema().input_types() == [DataType.binary]


def ask_server(model: Any, body: str, text: str) -> Any:
    """The answer of MLflow's server to a client that sends one text."""
    from mlflow.pyfunc.scoring_server import invocations

    request = {body: [{"image": text}] if body == "dataframe_records" else [text], "params": {"paths": True}}
    answer = invocations(json.dumps(request), "application/json", model, model.metadata.get_input_schema())
    return json.loads(answer.response)["predictions"][0]


@pytest.mark.parametrize("body", ["inputs", "instances", "dataframe_records"])
def test_mlflows_server_takes_base64(model: Any, digits: Path, body: str) -> None:
    image = next(digits.glob("val/*/*.png"))
    assert "label" in ask_server(model, body, base64.b64encode(image.read_bytes()).decode())


@pytest.mark.parametrize("body", ["inputs", "instances"])
def test_mlflows_server_reads_no_path_that_a_client_names(model: Any, digits: Path, body: str) -> None:
    there, nowhere = ask_server(model, body, str(next(digits.glob("val/*/*.png")))), ask_server(model, body, "/x/a.png")
    assert there == nowhere
    assert "not an image of a known kind" in there["error"]


def test_paths_are_read_where_whoever_loads_it_says_so(model_path: Path, digits: Path) -> None:
    import mlflow.pyfunc

    path = str(next(digits.glob("val/*/*.png")))
    (refused,) = mlflow.pyfunc.load_model(str(model_path)).predict([path])
    (answer,) = mlflow.pyfunc.load_model(str(model_path), model_config={"paths": True}).predict([path])
    assert "error" in refused
    assert "label" in answer


@pytest.mark.parametrize("form", ["bytes", "base64", "table", "one"])
def test_its_model_answers_as_the_bundle_does(run: cs.Run, model: Any, digits: Path, form: str) -> None:
    import pandas as pd

    paths = sorted(digits.glob("val/*/*.png"))[:3]
    given: Any = {
        "bytes": [path.read_bytes() for path in paths],
        "table": pd.DataFrame({"image": [path.read_bytes() for path in paths]}),
        "base64": [base64.b64encode(path.read_bytes()).decode() for path in paths],
        "one": paths[0].read_bytes(),
    }[form]
    answers = model.predict(given)
    bundle = cs.load(run.bundle)
    expected = [bundle.predict(path).to_dict() for path in paths[: len(answers)]]
    assert len(answers) == (1 if form == "one" else 3)
    assert [it["label"] for it in answers] == [it["label"] for it in expected]
    assert [it["score"] for it in answers] == pytest.approx([it["score"] for it in expected], abs=1e-5)


def test_its_model_answers_a_bad_image_with_an_error_and_goes_on(model: Any, digits: Path) -> None:
    good = next(digits.glob("val/*/*.png"))
    bad, answer = model.predict([b"no image", good.read_bytes()])
    assert "error" in bad
    assert "label" in answer


def test_its_model_needs_no_package_but_this_one_and_mlflow(model_path: Path) -> None:
    lines = (model_path / "requirements.txt").read_text().splitlines()
    assert {line.partition("==")[0] for line in lines} == {"convsmith", "mlflow"}


def test_training_a_finished_run_again_logs_nothing_twice(run: cs.Run, digits: Path, store: str) -> None:
    cs.train(RECIPE, digits, run.path, observers=[MLflow(store)])
    client, found = tracked(run)
    assert figures(run) == lines(run)
    assert found.info.status == "FINISHED"
    assert len(client.search_logged_models([found.info.experiment_id], f"source_run_id='{found.info.run_id}'")) == 1


class After(Observer):
    """Acts when the figures of a step's validation are there, before the step's checkpoint is."""

    def __init__(self, step: int, act: Any) -> None:
        self.step, self.act = step, act

    def metrics(self, record: Record) -> None:
        if (record.step, record.split) == (self.step, "val"):
            self.act()


def test_a_run_that_goes_on_does_so_in_the_same_run_whose_figures_come_once(
    digits: Path, store: str, tmp_path: Path
) -> None:
    def crash() -> None:
        raise RuntimeError("as if killed")

    run = cs.Run(tmp_path / "run")
    with pytest.raises(RuntimeError, match="as if killed"):
        cs.train(RECIPE, digits, run.path, observers=[MLflow(store), After(12, crash)])
    _, first = tracked(run)
    assert first.info.status == "KILLED"
    cs.train(RECIPE, digits, run.path, observers=[MLflow()])  # the note in the directory names the store
    _, second = tracked(run)
    assert (second.info.run_id, second.info.status) == (first.info.run_id, "FINISHED")
    assert Counter((name, step) for name, step, _ in figures(run)) == Counter((n, s) for n, s, _ in lines(run))


def test_keys_that_a_resume_may_change_stay_as_they_were_logged(digits: Path, store: str, tmp_path: Path) -> None:
    def stop() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    run = cs.Run(tmp_path / "run")
    with pytest.raises(cs.ConvsmithError, match="stopped by SIGTERM"):
        cs.train(RECIPE, digits, run.path, observers=[MLflow(store), After(6, stop)])
    cs.train(cs.load_recipe("digits", [*SMALL, "checkpoint.every_minutes=7"]), digits, run.path, observers=[MLflow()])
    _, found = tracked(run)
    assert (found.info.status, found.data.params["checkpoint.every_minutes"]) == ("FINISHED", "10.0")


def test_a_run_that_was_deleted_in_mlflow_is_logged_anew_and_whole(digits: Path, store: str, tmp_path: Path) -> None:
    run = cs.train(RECIPE, digits, tmp_path / "run", observers=[MLflow(store)])
    client, first = tracked(run)
    client.delete_run(first.info.run_id)
    cs.train(RECIPE, digits, run.path, observers=[MLflow(store)])
    assert tracked(run)[1].info.run_id != first.info.run_id
    assert figures(run) == lines(run)


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "silent"])
def test_a_server_that_is_down_or_silent_costs_a_warning_and_never_the_training(
    run: cs.Run,
    digits: Path,
    tmp_path: Path,
    answers: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel accepts, and nobody answers
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not answers:
            server.close()
        lone = cs.train(RECIPE, digits, tmp_path / "run", observers=[MLflow(uri)])
    assert sum("MLflow cannot be reached" in it.getMessage() for it in caplog.records) == 1
    weights = [(it.checkpoints / "last" / "model.safetensors").read_bytes() for it in (run, lone)]
    assert weights[0] == weights[1]


def test_a_server_that_hangs_is_waited_for_at_the_end_only(
    run: cs.Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracker, "END_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel accepts, and nobody answers
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        lone = cs.train(RECIPE, digits, tmp_path / "run", observers=[MLflow(uri)])
        (warning,) = (it.getMessage() for it in caplog.records if it.name == tracker.__name__)
    assert warning == (
        "MLflow lacks a part of this run (6 of 6 records, and the bundle), which did not answer within 1 seconds; "
        "the same command sends it"
    )
    weights = [(it.checkpoints / "last" / "model.safetensors").read_bytes() for it in (run, lone)]
    assert weights[0] == weights[1]


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ModuleNotFoundError) as caught:
        MLflow()
    assert install_command("mlflow") in str(missing_package(caught.value))
