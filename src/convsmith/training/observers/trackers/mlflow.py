"""Runs in MLflow 3."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convsmith.bundle.mlflow_model import PATHS
from convsmith.storage import sha256_of, write_file
from convsmith.training.observers.tracker import Tracker, named_values
from convsmith.training.run import Run, flat

if TYPE_CHECKING:
    import mlflow

EXPERIMENT = "convsmith"
_BUNDLE_TAG = "convsmith.bundle"
_MAX_PARAM = 6000  # characters of a value, mlflow.utils.validation.MAX_PARAM_VAL_LENGTH
_MAX_BATCH = 100  # parameters of one request

# MLflow reads these from the environment only. Its own patience with a server, minutes for each request, would keep a
# warning back for as long; and what this package runs for its user reports to no one else.
_DEFAULTS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class MLflow(Tracker):
    """Logs a run's recipe as parameters, its figures by step, its pictures, and its bundle as a model and as files.

    `mlflow.json` in the run directory names the MLflow run, so that a training that goes on does so in the same one.

    Args:
        tracking_uri: the store. None takes `MLFLOW_TRACKING_URI`; else where the run was logged before; else
            `mlflow.db` in the current directory, where `mlflow ui` looks too.
        experiment: None takes `MLFLOW_EXPERIMENT_NAME`, else `convsmith`.
    """

    service = "MLflow"

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        super().__init__()
        self._set = {name: value for name, value in _DEFAULTS.items() if name not in os.environ}
        os.environ |= self._set
        import mlflow

        logging.getLogger("alembic").setLevel(logging.WARNING)  # a new sqlite store is a hundred lines of migrations
        self._client_of = mlflow.MlflowClient
        self._uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        self._run_id: str | None = None
        self._logged: set[tuple[str, int]] = set()

    def follow(self, run: Run) -> None:
        """Log the figures that are new."""
        from mlflow.entities import Metric

        if self._run_id is None:
            self._connect(run)
        assert self._run_id is not None
        now = int(time.time() * 1000)
        for line in run.metrics:
            values = {name: it for name, it in named_values(line).items() if (name, line["step"]) not in self._logged}
            if values:
                metrics = [Metric(name, value, now, line["step"]) for name, value in values.items()]
                self._client.log_batch(self._run_id, metrics=metrics)
                self._logged |= {(name, line["step"]) for name in values}

    def forget(self, run: Run, kept: Sequence[dict[str, Any]]) -> None:  # noqa: ARG002 - one run at a time
        """Let what is done again be logged again: MLflow shows the newest value of a step."""
        self._logged &= {(name, line["step"]) for line in kept for name in named_values(line)}

    def finish(self, run: Run) -> None:
        """Log the bundle once, as a pyfunc model and as the run's files."""
        assert self._run_id is not None
        digest = sha256_of(run.bundle / "bundle.json")
        if self._client.get_run(self._run_id).data.tags.get(_BUNDLE_TAG) != digest:
            self._client.log_artifacts(self._run_id, str(run.bundle), "bundle")
            if run.pictures.is_dir():
                self._client.log_artifacts(self._run_id, str(run.pictures), "pictures")
            self._log_model(run)
            self._client.set_tag(self._run_id, _BUNDLE_TAG, digest)
        self._client.set_terminated(self._run_id, "FINISHED")
        self._run_id = None

    def stop(self) -> None:
        """Mark the MLflow run as killed."""
        if self._run_id is not None:
            self._client.set_terminated(self._run_id, "KILLED")

    def close(self) -> None:
        """Disconnect, and leave the process's environment as it was."""
        super().close()
        for name in self._set:
            os.environ.pop(name, None)

    def _connect(self, run: Run) -> None:
        from mlflow.entities import Param

        note = run.path / "mlflow.json"
        before = json.loads(note.read_text()) if note.exists() else {}
        uri = self._uri or before.get("tracking_uri") or f"sqlite:///{Path('mlflow.db').absolute()}"
        self._client = self._client_of(uri)
        found = self._run_before(before["run_id"]) if before.get("tracking_uri") == uri else None
        if found is None:
            found = self._client.create_run(self._experiment_id(), run_name=run.path.absolute().name)
            write_file(note, json.dumps({"tracking_uri": uri, "run_id": found.info.run_id}) + "\n")
        elif found.info.status != "RUNNING":
            self._client.update_run(found.info.run_id, status="RUNNING")
        run_id = found.info.run_id
        params = [
            Param(key, _as_text(value)[:_MAX_PARAM])
            for key, value in flat(run.recipe.model_dump(mode="json")).items()
            if key not in found.data.params  # none can be changed, and a resume may change some keys of the recipe
        ]
        for first in range(0, len(params), _MAX_BATCH):
            self._client.log_batch(run_id, params=params[first : first + _MAX_BATCH])
        for name in ("recipe.yaml", "plan.json"):
            self._client.log_artifact(run_id, str(run.path / name))
        self._logged = {
            (name, metric.step)
            for name in found.data.metrics
            for metric in self._client.get_metric_history(run_id, name)
        }
        self._run_id = run_id

    def _run_before(self, run_id: str) -> mlflow.entities.Run | None:
        """The MLflow run, unless it was deleted."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return None if found.info.lifecycle_stage == "deleted" else found

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        identity: str = found.experiment_id if found else self._client.create_experiment(self._experiment)
        return identity

    def _log_model(self, run: Run) -> None:
        """By the client alone: `mlflow.pyfunc.log_model` would log to whatever run the user's script has open."""
        import mlflow.pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ColSpec, DataType, Schema

        assert self._run_id is not None
        experiment = self._client.get_run(self._run_id).info.experiment_id
        model = self._client.create_logged_model(experiment, name="bundle", source_run_id=self._run_id)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            mlflow.pyfunc.save_model(
                str(path),
                loader_module="convsmith.bundle.mlflow_model",
                data_path=str(run.bundle),
                signature=ModelSignature(Schema([ColSpec(DataType.binary)])),
                model_config={PATHS: False},
                pip_requirements=[f"convsmith=={version('convsmith')}"],
                mlflow_model=Model(run_id=self._run_id, model_id=model.model_id, model_uuid=model.model_id),
            )
            self._client.log_model_artifacts(model.model_id, str(path))
        self._client.finalize_logged_model(model.model_id, "READY")
        step = run.metrics[-1]["step"] if run.metrics else 0
        self._client.log_outputs(self._run_id, [LoggedModelOutput(model.model_id, step)])


def _as_text(value: object) -> str:
    """The text that YAML writes for it."""
    return value if isinstance(value, str) else json.dumps(value)


TRACKER = MLflow
