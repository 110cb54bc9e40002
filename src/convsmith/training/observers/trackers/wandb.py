"""Runs in Weights & Biases."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from convsmith.storage import sha256_of, write_file
from convsmith.training.observers.tracker import END_SECONDS, Tracker, named_values
from convsmith.training.run import Run, flat

if TYPE_CHECKING:
    import wandb

PROJECT = "convsmith"
_SECONDS = 30  # that W&B may take to begin a run


class WandB(Tracker):
    """Logs a run's recipe as its configuration, each line of metrics.jsonl as a step, its pictures, and its bundle.

    `wandb.json` in the run directory names the W&B run, so that a training that goes on does so in the same one. W&B's
    own environment variables count: with `WANDB_MODE=offline` all is kept in `wandb/` there, for `wandb sync`.

    Args:
        project: None takes `WANDB_PROJECT`, else `convsmith`.
    """

    service = "W&B"

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        import wandb

        self._wandb = wandb
        self._project = project or os.environ.get("WANDB_PROJECT") or PROJECT
        self._live: wandb.Run | None = None

    def follow(self, run: Run) -> None:
        """Log the lines that are new."""
        live = self._live = self._live or self._connect(run)
        note = _read_note(run)
        lines = run.metrics
        # What is logged is numbered, since two records may be of one step, and W&B takes no step twice.
        new = lines[note["lines"] :]  # none where the run goes on from before the last ones
        for number, line in enumerate(new, note["logged"]):
            values = {"step": line["step"], "epoch": line["epoch"], **named_values(line)}
            live.log(values, step=number, commit=True)
        if new:
            _write_note(run, {**note, "lines": len(lines), "logged": note["logged"] + len(new)})

    def forget(self, run: Run, kept: Sequence[dict[str, Any]]) -> None:
        """Let what is done again be logged again, for W&B cannot take back what it has."""
        if _note(run).exists():
            note = _read_note(run)
            _write_note(run, {**note, "lines": min(note["lines"], len(kept))})

    def finish(self, run: Run) -> None:
        """Log the bundle once, and wait until W&B has everything."""
        assert self._live is not None
        note, digest = _read_note(run), sha256_of(run.bundle / "bundle.json")
        if note["bundle"] != digest:
            artifact = self._wandb.Artifact(f"{note['run_id']}-bundle", type="model")
            artifact.add_dir(str(run.bundle))
            self._live.log_artifact(artifact)
            pictures = {f"pictures/{it.stem}": self._wandb.Image(str(it)) for it in run.pictures.glob("*.png")}
            if pictures:
                self._live.log(pictures, step=note["logged"], commit=True)
                note["logged"] += 1
        self._live.finish()
        self._live = None
        _write_note(run, {**note, "bundle": digest})

    def stop(self) -> None:
        """Mark the W&B run as failed."""
        if self._live is not None:
            self._live.finish(exit_code=1)
            self._live = None

    def _connect(self, run: Run) -> wandb.Run:
        if not _note(run).exists():
            _write_note(run, {"run_id": uuid4().hex[:8], "lines": 0, "logged": 0, "bundle": None})
        live = self._wandb.init(
            project=self._project,
            id=_read_note(run)["run_id"],
            resume="allow",
            name=run.path.absolute().name,
            dir=str(run.path),
            config=flat(run.recipe.model_dump(mode="json")),
            settings=self._wandb.Settings(
                console="off",
                init_timeout=_SECONDS,
                # else it waits for a server that has gone for days, and at the end of the process too
                finish_timeout=END_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        live.define_metric("*", step_metric="step")
        return live


def _note(run: Run) -> Path:
    return run.path / "wandb.json"


def _read_note(run: Run) -> dict[str, Any]:
    note: dict[str, Any] = json.loads(_note(run).read_text())
    return note


def _write_note(run: Run, note: dict[str, Any]) -> None:
    write_file(_note(run), json.dumps(note) + "\n")


TRACKER = WandB
