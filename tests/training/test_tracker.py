"""What follows metrics.jsonl, with a service that fails as it is told to."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import convsmith as cs
from convsmith.training.observers.base import Record
from convsmith.training.observers.jsonl import JsonLines
from convsmith.training.observers.tracker import Tracker
from convsmith.training.run import Run
from tests.training.conftest import SMALL


class Service(Tracker):
    """Fails while it is down; each attempt takes a second of the clock."""

    service = "Service"

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.now = 0.0
        self.attempts = 0
        self.steps: list[int] = []
        self.finished = False

    def follow(self, run: Run) -> None:
        self.attempts += 1
        if self.down:
            self.now += 1
            raise OSError("connection refused\nand more")
        self.steps += [line["step"] for line in run.metrics[len(self.steps) :]]

    def finish(self, run: Run) -> None:
        self.finished = True

    def stop(self) -> None:
        pass


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr("time.monotonic", lambda: service.now)
    return service


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def tell(run: Run, service: Service, step: int) -> None:
    record = Record(step=step, epoch=1, split="train", values={"loss": 1.0})
    lines = JsonLines(run.path / "metrics.jsonl", step - 1, step - 1)
    lines.metrics(record)
    lines.close()
    service.metrics(record)


def test_a_service_that_is_down_costs_one_warning(run: Run, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.down = True
    service.begin(run)
    service.now += 100
    tell(run, service, 1)
    assert [it.getMessage() for it in caplog.records] == [
        "Service cannot be reached, the training goes on without: connection refused"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_what_it_missed_is_sent_when_it_is_back(run: Run, service: Service) -> None:
    service.begin(run)
    service.down = True
    tell(run, service, 1)
    service.down = False
    service.now += 100
    tell(run, service, 2)
    assert service.steps == [1, 2]


def test_after_a_failure_it_is_left_alone_ten_times_as_long_as_that_took(run: Run, service: Service) -> None:
    service.down = True
    service.begin(run)
    service.now += 9.9
    tell(run, service, 1)
    assert service.attempts == 1
    service.now += 0.2
    tell(run, service, 2)
    assert service.attempts == 2


def test_the_end_is_tried_at_once_and_says_what_to_do_if_it_fails(
    run: Run, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.down = True
    service.begin(run)
    service.end(run)
    assert service.attempts == 2
    assert not service.finished
    assert caplog.records[-1].getMessage() == "Service lacks a part of this run; the same command sends it"


def test_a_training_whose_service_fails_has_the_same_result(digits: Path, tmp_path: Path) -> None:
    service = Service()
    service.down = True
    recipe = cs.load_recipe("digits", SMALL)
    runs = [cs.train(recipe, digits, tmp_path / name, observers=them) for name, them in (("a", [service]), ("b", []))]
    weights = [(run.checkpoints / "last" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
