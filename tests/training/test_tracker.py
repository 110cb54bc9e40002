"""What follows metrics.jsonl, with a service that fails and hangs as it is told to."""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import convsmith as cs
from convsmith.training.observers import tracker
from convsmith.training.observers.base import Record
from convsmith.training.observers.jsonl import JsonLines
from convsmith.training.observers.tracker import Tracker
from convsmith.training.run import Run
from tests.launch.slurm_cluster import wait
from tests.training.conftest import SMALL


class Service(Tracker):
    """Fails while it is down, and answers nothing while `answers` is cleared."""

    service = "Service"

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.answers = threading.Event()
        self.answers.set()
        self.attempts = 0
        self.steps: list[int] = []
        self.ended: str | None = None

    def follow(self, run: Run) -> None:
        self.attempts += 1
        lines = run.metrics
        self.answers.wait(60)
        if self.down:
            raise OSError("connection refused\nand more")
        self.steps += [line["step"] for line in lines[len(self.steps) :]]

    def forget(self, run: Run, kept: Sequence[dict[str, Any]]) -> None:
        del self.steps[len(kept) :]

    def finish(self, run: Run) -> None:
        self.ended = "finished"

    def stop(self) -> None:
        self.ended = "stopped"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.answers.set()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("END_SECONDS", "STOP_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(tracker, name, 0.05)


def tell(run: Run, service: Service, *steps: int) -> None:
    for step in steps:
        record = Record(step=step, epoch=1, split="train", values={"loss": 1.0})
        lines = JsonLines(run.path / "metrics.jsonl", step - 1, step - 1)
        lines.metrics(record)
        lines.close()
        service.metrics(record)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert {it.levelno for it in caplog.records} <= {logging.WARNING}
    return [it.getMessage() for it in caplog.records]


def test_all_records_are_sent_and_the_end_is_told(run: Run, service: Service) -> None:
    service.begin(run)
    tell(run, service, 1, 2, 3)
    service.end(run)
    service.close()
    assert service.steps == [1, 2, 3]
    assert service.ended == "finished"


def test_a_run_that_ends_before_its_time_is_sent_too_and_stopped(run: Run, service: Service) -> None:
    service.begin(run)
    tell(run, service, 1, 2, 3)
    service.close()
    assert service.steps == [1, 2, 3]
    assert service.ended == "stopped"


def test_a_service_that_is_down_costs_one_warning(run: Run, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.down = True
    service.begin(run)
    wait(lambda: service.attempts == 1, 10)
    tell(run, service, 1)
    service.close()
    assert said(caplog)[0] == "Service cannot be reached, the training goes on without: connection refused"
    assert sum("cannot be reached" in line for line in said(caplog)) == 1


@pytest.mark.usefixtures("short_times")
def test_what_it_missed_is_sent_when_it_is_back(run: Run, service: Service) -> None:
    service.down = True
    service.begin(run)
    tell(run, service, 1, 2)
    wait(lambda: service.attempts > 1, 10)
    service.down = False
    tell(run, service, 3)
    wait(lambda: service.steps == [1, 2, 3], 10)
    service.close()


def test_after_a_failure_it_is_left_alone_for_a_while(run: Run, service: Service) -> None:
    service.down = True
    service.begin(run)
    wait(lambda: service.attempts == 1, 10)
    tell(run, service, 1, 2, 3)
    assert service.attempts == 1
    service.close()


def test_the_end_is_tried_at_once_and_says_what_to_do_if_it_fails(
    run: Run, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.down = True
    service.begin(run)
    wait(lambda: service.attempts == 1, 10)
    tell(run, service, 1, 2)
    service.end(run)
    assert service.attempts == 2
    assert service.ended is None
    assert said(caplog)[-1] == (
        "Service lacks a part of this run (2 of 2 records, and the bundle); the same command sends it"
    )


@pytest.mark.usefixtures("short_times")
@pytest.mark.parametrize("how", ["finished", "stopped"])
def test_a_service_that_hangs_is_waited_for_at_the_end_only_and_not_for_ever(
    run: Run, service: Service, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.begin(run)
    tell(run, service, 1)
    wait(lambda: service.steps == [1], 10)
    service.answers.clear()
    tell(run, service, 2, 3, 4)
    if how == "finished":
        service.end(run)
    service.close()
    assert service.ended is None
    lacking = "3 of 4 records, and the bundle" if how == "finished" else "3 of 4 records"
    assert said(caplog) == [
        f"Service lacks a part of this run ({lacking}), which did not answer within 0.05 seconds; "
        "the same command sends it"
    ]


@pytest.mark.usefixtures("short_times")
def test_while_a_service_still_hangs_another_run_is_not_sent_to_it(
    run: Run, service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service.answers.clear()
    service.begin(run)
    service.close()
    service.begin(Run(tmp_path / "second"))
    tell(run, service, 1)
    service.end(run)
    assert said(caplog)[-1] == f"Service still does not answer: nothing of {tmp_path / 'second'} is sent to it"


def test_what_is_done_again_is_sent_again_however_late_the_service_was(run: Run, service: Service) -> None:
    service.begin(run)
    tell(run, service, 1, 2, 3)
    wait(lambda: service.steps == [1, 2, 3], 10)
    service.answers.clear()
    tell(run, service, 4, 5)
    JsonLines(run.path / "metrics.jsonl", 2, 2).close()
    service.roll_back(2, 2)
    tell(run, service, 3, 4)
    service.answers.set()
    service.end(run)
    assert service.steps == [1, 2, 3, 4]


def test_a_record_that_cannot_be_read_ends_no_training(
    run: Run, service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (run.path / "metrics.jsonl").write_text("")
    monkeypatch.setattr("convsmith.training.records.Path.read_bytes", fail)
    service.begin(run)
    service.roll_back(1, 1)
    service.end(run)
    assert "cannot be reached" in said(caplog)[0]


@pytest.mark.usefixtures("short_times", "tiny", "unpacked")
def test_a_training_whose_service_hangs_has_the_same_result(digits: Path, service: Service, tmp_path: Path) -> None:
    service.answers.clear()
    recipe = cs.load_recipe("digits", [*SMALL, "model.name=tiny"])
    runs = [cs.train(recipe, digits, tmp_path / name, observers=them) for name, them in (("a", [service]), ("b", []))]
    weights = [(run.checkpoints / "last" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
