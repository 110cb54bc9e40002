"""What trackers ask their services for, with stand-ins for the packages, which have tests of their own."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

import convsmith as cs
from convsmith.training.observers.trackers.mlflow import MLflow
from convsmith.training.observers.trackers.wandb import WandB
from convsmith.training.run import Run, flat

RECIPE = cs.load_recipe("digits")
LINES = [
    {"step": 4, "epoch": 1, "split": "train", "loss": 2.0},
    {"step": 4, "epoch": 1, "split": "val", "top1": 0.5},
    {"step": 8, "epoch": 2, "split": "train", "loss": 1.0},
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The directory of a run that has a bundle and a picture, and three records."""
    path = tmp_path / "digits-run"
    (path / "bundle").mkdir(parents=True)
    (path / "pictures").mkdir()
    (path / "pictures" / "curve.png").touch()
    (path / "bundle" / "bundle.json").write_text("{}")
    (path / "plan.json").write_text("{}")
    (path / "recipe.yaml").write_text("extends: digits\n")
    write(path, LINES)
    return Run(path)


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


DIGEST = hashlib.sha256(b"{}").hexdigest()


class MlflowException(Exception):
    """As MLflow's."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class Client:
    """One store of MLflow for each address: runs by id, and what was asked for."""

    stores: ClassVar[dict[str, Client]] = {}

    def __new__(cls, uri: str) -> Client:
        if uri not in cls.stores:
            cls.stores[uri] = super().__new__(cls)
            cls.stores[uri].runs, cls.stores[uri].asked, cls.stores[uri].experiments = {}, [], {}
        return cls.stores[uri]

    runs: dict[str, Any]
    asked: list[tuple[Any, ...]]
    experiments: dict[str, str]

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id=self.experiments[name]) if name in self.experiments else None

    def create_experiment(self, name: str) -> str:
        return self.experiments.setdefault(name, f"e{len(self.experiments)}")

    def create_run(self, experiment: str, run_name: str) -> Any:
        identity = f"r{len(self.runs)}"
        info = SimpleNamespace(run_id=identity, status="RUNNING", lifecycle_stage="active", experiment_id=experiment)
        data = SimpleNamespace(params={}, tags={}, metrics={})
        self.runs[identity] = SimpleNamespace(info=info, data=data, name=run_name, history=[])
        return self.runs[identity]

    def get_run(self, identity: str) -> Any:
        if identity not in self.runs:
            raise MlflowException
        return self.runs[identity]

    def update_run(self, identity: str, status: str) -> None:
        self.runs[identity].info.status = status

    def set_terminated(self, identity: str, status: str) -> None:
        self.runs[identity].info.status = status

    def log_batch(self, identity: str, metrics: Any = (), params: Any = ()) -> None:
        found = self.runs[identity]
        if params:
            self.asked.append(("params", len(params)))
        found.data.params |= {it.key: it.value for it in params}
        for it in metrics:
            found.data.metrics[it.key] = it.value
            found.history.append((it.key, it.value, it.step))

    def get_metric_history(self, identity: str, name: str) -> list[Any]:
        return [SimpleNamespace(step=step) for key, _, step in self.runs[identity].history if key == name]

    def set_tag(self, identity: str, name: str, value: str) -> None:
        self.runs[identity].data.tags[name] = value

    def __getattr__(self, name: str) -> Any:
        def note(*given: Any, **more: Any) -> Any:
            self.asked.append((name, *(Path(it).name if isinstance(it, str) else it for it in given), *more.items()))
            return SimpleNamespace(model_id="m1")

        return note


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stand-in for the package; the address of its usual store."""

    def plain(*names: str) -> Any:
        return lambda *given, **named: SimpleNamespace(**dict(zip(names, given, strict=False)), **named)

    modules = {name: ModuleType(f"mlflow{name}") for name in
               ("", ".entities", ".exceptions", ".pyfunc", ".models", ".types")}  # fmt: skip
    vars(modules[""]).update(MlflowClient=Client, pyfunc=modules[".pyfunc"])
    vars(modules[".entities"]).update(
        Metric=plain("key", "value", "timestamp", "step"), Param=plain("key", "value"),
        LoggedModelOutput=lambda *given: given,
    )  # fmt: skip
    vars(modules[".exceptions"])["MlflowException"] = MlflowException
    saved = Client("saved")
    vars(modules[".pyfunc"])["save_model"] = lambda _path, **more: saved.asked.append(tuple(more.items()))
    vars(modules[".models"]).update(Model=lambda **_: "model", ModelSignature=lambda _: "signature")
    vars(modules[".types"]).update(ColSpec=str, DataType=SimpleNamespace(binary="binary"), Schema=list)
    for module in modules.values():
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Client, "stores", {"saved": saved})
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


SENT = [("train/loss", 2.0, 4), ("val/top1", 0.5, 4), ("train/loss", 1.0, 8)]


def test_mlflow_gets_recipe_figures_and_bundle_once(run: Run, mlflow: str) -> None:
    tracker = MLflow()
    for _ in range(2):
        tracker.follow(run)
    tracker.finish(run)
    store = Client(mlflow)
    (found,) = store.runs.values()
    assert (found.name, store.experiments) == ("digits-run", {"convsmith": "e0"})
    assert found.history == SENT
    assert found.info.status == "FINISHED"
    assert found.data.tags == {"convsmith.bundle": DIGEST}
    values = flat(RECIPE.model_dump(mode="json"))
    assert found.data.params["optimizer.lr"] == json.dumps(values["optimizer.lr"])
    assert found.data.params["model.name"] == values["model.name"]
    assert found.data.params.keys() == values.keys()
    sizes = [it[1] for it in store.asked if it[0] == "params"]
    assert sizes == [100] * (len(values) // 100) + [len(values) % 100]
    assert [it for it in store.asked if it[0] != "params"] == [
        ("log_artifact", "r0", "recipe.yaml"),
        ("log_artifact", "r0", "plan.json"),
        ("log_artifacts", "r0", "bundle", "bundle"),
        ("log_artifacts", "r0", "pictures", "pictures"),
        ("create_logged_model", "e0", ("name", "bundle"), ("source_run_id", "r0")),
        ("log_model_artifacts", "m1", "model"),
        ("finalize_logged_model", "m1", "READY"),
        ("log_outputs", "r0", [("m1", 8)]),
    ]
    assert dict(Client("saved").asked[0])["model_config"] == {"paths": False}


def test_mlflow_goes_on_with_the_run_that_it_began(run: Run, mlflow: str) -> None:
    write(run.path, LINES[:1])
    first = MLflow()
    first.follow(run)
    first.stop()
    (found,) = Client(mlflow).runs.values()
    assert found.info.status == "KILLED"
    write(run.path, LINES)
    asked = len(Client(mlflow).asked)
    second = MLflow()
    second.follow(run)
    assert list(Client(mlflow).runs) == ["r0"]
    assert found.info.status == "RUNNING"
    assert found.history == SENT
    assert len(Client(mlflow).asked) == asked + 2  # no parameter again
    second.finish(run)
    third = MLflow()
    third.follow(run)
    asked = len(Client(mlflow).asked)
    third.finish(run)  # which has the bundle already
    assert len(Client(mlflow).asked) == asked


@pytest.mark.parametrize("lost", ["deleted", "gone", "elsewhere"])
def test_mlflow_begins_a_new_run_where_the_one_before_is_lost(run: Run, mlflow: str, lost: str) -> None:
    MLflow().follow(run)
    if lost == "deleted":
        Client(mlflow).runs["r0"].info.lifecycle_stage = "deleted"
    if lost == "gone":
        Client(mlflow).runs["r9"] = Client(mlflow).runs.pop("r0")
    uri = "http://store" if lost == "elsewhere" else None
    tracker = MLflow(uri)
    tracker.follow(run)
    note = json.loads((run.path / "mlflow.json").read_text())
    assert note == {"tracking_uri": uri or mlflow, "run_id": {"elsewhere": "r0"}.get(lost, "r1")}
    assert Client(uri or mlflow).runs[note["run_id"]].history == SENT


def test_mlflow_is_sent_again_what_is_done_again(run: Run, mlflow: str) -> None:
    tracker = MLflow()
    tracker.follow(run)
    tracker.forget(run, LINES[:2])
    tracker.follow(run)
    assert Client(mlflow).runs["r0"].history == [*SENT, SENT[2]]


def test_mlflow_leaves_the_environment_as_it_was(mlflow: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mlflow
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "mine")
    tracker = MLflow()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "30"
    tracker.close()
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "mine"


@pytest.mark.parametrize(
    ("argument", "variable", "uri"), [("a:1", "b:1", "a:1"), (None, "b:1", "b:1"), (None, None, None)]
)
def test_mlflow_s_store_is_that_of_the_argument_or_the_variable(
    argument: str | None, variable: str | None, uri: str | None, mlflow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mlflow
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        if variable:
            monkeypatch.setenv(name, variable)
    tracker = MLflow(argument, argument)
    assert (tracker._uri, tracker._experiment) == (uri, uri or "convsmith")


class Live:
    """A run of W&B."""

    def __init__(self) -> None:
        self.began = dict[str, Any]()
        self.lines = list[tuple[dict[str, Any], int]]()
        self.artifacts = list[Any]()
        self.ended = list[int | None]()

    def log(self, values: dict[str, Any], step: int, commit: bool) -> None:
        assert commit
        self.lines.append((values, step))

    def define_metric(self, *_: str, **__: str) -> None:
        pass

    def log_artifact(self, artifact: Any) -> None:
        self.artifacts.append(artifact)

    def finish(self, exit_code: int | None = None) -> None:
        self.ended.append(exit_code)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    live, module = Live(), ModuleType("wandb")

    def init(**given: Any) -> Live:
        live.began = given
        return live

    def artifact(name: str, type: str) -> Any:  # noqa: A002
        return SimpleNamespace(name=name, type=type, add_dir=lambda _: None)

    vars(module).update(
        init=init, Settings=lambda **given: given, Image=lambda path: Path(path).name, Artifact=artifact
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return live


def note_of(run: Run) -> dict[str, Any]:
    note: dict[str, Any] = json.loads((run.path / "wandb.json").read_text())
    return note


def test_wandb_gets_each_line_as_a_step_and_the_bundle_once(run: Run, live: Live) -> None:
    tracker = WandB()
    for _ in range(2):
        tracker.follow(run)
    assert live.lines == [
        ({"step": 4, "epoch": 1, "train/loss": 2.0}, 0),
        ({"step": 4, "epoch": 1, "val/top1": 0.5}, 1),
        ({"step": 8, "epoch": 2, "train/loss": 1.0}, 2),
    ]
    identity = note_of(run)["run_id"]
    assert len(identity) == 8
    assert note_of(run) == {"run_id": identity, "lines": 3, "logged": 3, "bundle": None}
    tracker.finish(run)
    assert live.lines[3:] == [({"pictures/curve": "curve.png"}, 3)]
    assert [it.name for it in live.artifacts] == [f"{identity}-bundle"]
    assert note_of(run) == {"run_id": identity, "lines": 3, "logged": 4, "bundle": DIGEST}
    tracker.follow(run)
    tracker.finish(run)
    assert (len(live.lines), len(live.artifacts), live.ended) == (4, 1, [None, None])


def test_wandb_begins_the_run_under_its_name_with_its_recipe(run: Run, live: Live) -> None:
    WandB().follow(run)
    settings = live.began.pop("settings")
    assert live.began == {
        "project": "convsmith", "id": note_of(run)["run_id"], "resume": "allow", "name": "digits-run",
        "dir": str(run.path), "config": flat(RECIPE.model_dump(mode="json")),
    }  # fmt: skip
    assert settings == {"console": "off", "init_timeout": 30, "finish_timeout": 120, "finish_timeout_raises": True}


def test_wandb_is_sent_again_what_is_done_again(run: Run, live: Live) -> None:
    tracker = WandB()
    tracker.forget(run, LINES[:2])  # nothing has been sent
    tracker.follow(run)
    tracker.forget(run, LINES[:2])
    tracker.follow(run)
    assert [step for _, step in live.lines] == [0, 1, 2, 3]
    assert (note_of(run)["lines"], note_of(run)["logged"]) == (3, 4)


def test_wandb_is_told_of_a_run_that_is_stopped(run: Run, live: Live) -> None:
    tracker = WandB("mine")
    tracker.stop()
    tracker.follow(run)
    tracker.stop()
    tracker.stop()
    assert live.ended == [1]
    assert live.began["project"] == "mine"
