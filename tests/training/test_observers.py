from __future__ import annotations

import io
import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console as RichConsole

from convsmith.data.loading.loader import Batch
from convsmith.training.observers.base import Observer, Record, showing_first
from convsmith.training.observers.console import PLAIN_SECONDS, Console, _readable
from convsmith.training.observers.jsonl import JsonLines
from convsmith.training.observers.tensorboard import TensorBoard
from convsmith.training.records import read_records

VAL = Record(step=10, epoch=1, split="val", values={"top1": 0.9876, "images_per_second": 5210.4})


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    output = io.StringIO()
    return Console(RichConsole(file=output, force_terminal=terminal, width=100)), output


def test_without_a_terminal_figures_are_one_plain_line() -> None:
    shown, output = console(terminal=False)
    shown.metrics(VAL)
    shown.close()
    assert output.getvalue() == "epoch   1  val    top1 0.9876  images_per_second 5,210\n"


def test_without_a_terminal_progress_is_a_line_now_and_then_with_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    shown, output = console(terminal=False)
    for second in range(3 * int(PLAIN_SECONDS)):
        now = float(second)
        shown.progress("train", 100 * second, 10_000)
    shown.close()
    assert output.getvalue().splitlines() == [
        "train 10%  100 images/s  00:01:30 left",
        "train 20%  100 images/s  00:01:20 left",
    ]


def test_without_a_terminal_a_resumed_run_does_not_count_what_was_done_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    shown, output = console(terminal=False)
    shown.progress("train", 5000, 10_000)
    now = PLAIN_SECONDS
    shown.progress("train", 6000, 10_000)
    shown.close()
    assert output.getvalue() == "train 60%  100 images/s  00:00:40 left\n"


def test_on_a_terminal_there_is_a_bar_for_each_phase() -> None:
    shown, output = console(terminal=True)
    shown.progress("train", 50, 100)
    shown.progress("evaluate", 1, 4)
    shown.metrics(VAL)
    shown.close()
    text = output.getvalue()
    assert "train" in text
    assert "50 %" in text
    assert "evaluate" in text
    assert "top1 0.9876" in text


def test_messages_of_the_package_are_shown_and_warnings_are_marked() -> None:
    shown, output = console(terminal=False)
    logging.getLogger("convsmith.training").warning("one [bold] %s", "warning")
    shown.close()
    logging.getLogger("convsmith.training").warning("after the run")
    assert output.getvalue() == "warning: one [bold] warning\n"


def test_metrics_lines_are_flat_json_and_seen_at_once(tmp_path: Path) -> None:
    writer = JsonLines(tmp_path / "metrics.jsonl", step=0, evaluated_step=0)
    writer.metrics(VAL)
    assert read_records(tmp_path / "metrics.jsonl") == [
        {"step": 10, "epoch": 1, "split": "val", "top1": 0.9876, "images_per_second": 5210.4}
    ]
    writer.close()


def test_going_on_drops_the_lines_of_steps_that_will_be_done_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    done = [{"step": 10, "split": "val", "top1": 0.5}, {"step": 15, "split": "steps", "loss": 1.0}]
    again = [{"step": 18, "split": "steps", "loss": 0.9}, {"step": 20, "split": "val", "top1": 0.6}]
    path.write_text("".join(json.dumps(line) + "\n" for line in (*done, *again)) + '{"step": 30, "sp')
    JsonLines(path, step=15, evaluated_step=10).close()
    assert read_records(path) == done


def test_going_on_drops_what_was_said_of_an_epoch_that_will_be_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 20, "split": "train", "loss": 0.6}\n')
    JsonLines(path, step=20, evaluated_step=10).close()
    assert read_records(path) == []


DAMAGE = [b"\0" * 40, b"\xff\xfe", b"{}", b"[1]", b'{"split": "val"}', b"[" * 100_000]
DAMAGE += [b'{"step": 1, "split": %b}' % it for it in (b"[1]", b'"val", "top1": [NaN]', b'"val", "top1": "high"')]


def test_a_torn_last_line_costs_itself_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10, "split": "val", "top1": 0.5}\n{"step": 20, "split": "val", "to')
    assert [record["step"] for record in read_records(path)] == [10]
    assert "has 1 damaged line," in caplog.text


def test_a_last_line_that_lost_only_its_end_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10, "split": "val", "top1": 0.5}')
    assert [record["step"] for record in read_records(path)] == [10]
    assert not caplog.text


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_line_costs_itself_and_a_warning(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    done = {"step": 10, "split": "val", "top1": 0.5}
    path.write_bytes(damage + b"\n" + json.dumps(done).encode() + b"\n")
    JsonLines(path, step=15, evaluated_step=10).close()
    assert "has 1 damaged line," in caplog.text
    assert path.read_text() == json.dumps(done) + "\n"


def test_a_figure_that_is_not_finite_is_written_as_null_and_read_as_nan(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = JsonLines(path, step=0, evaluated_step=0)
    writer.metrics(Record(10, 1, "val", {"loss": math.inf}))
    writer.close()
    assert json.loads(path.read_text())["loss"] is None
    assert math.isnan(read_records(path)[0]["loss"])


class Images(Observer):
    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def first_batch(self, images: torch.Tensor) -> None:
        self.seen.append(images)


def batch(size: int) -> Batch:
    return Batch(torch.full((size, 3, 2, 2), size, dtype=torch.uint8), torch.zeros(size, dtype=torch.int64), [])


def test_observers_see_the_first_batch_and_the_trainer_all_of_them() -> None:
    batches, images = [batch(2), batch(3)], Images()
    passed_on = list(showing_first(batches, [images]))
    assert all(one is other for one, other in zip(passed_on, batches, strict=True))
    assert [len(it) for it in images.seen] == [2]


def test_a_first_batch_without_a_readable_image_is_not_shown() -> None:
    images = Images()
    assert len(list(showing_first([batch(0), batch(2)], [images]))) == 2
    assert images.seen == []


@pytest.mark.parametrize(
    ("value", "text"), [(999.94, "999.9"), (1000.0, "1,000"), (5210.4, "5,210"), (0.98765, "0.9877")]
)
def test_a_figure_is_short(value: float, text: str) -> None:
    assert _readable(value) == text


def test_a_bar_goes_when_its_phase_is_done() -> None:
    shown, _ = console(terminal=True)
    shown.progress("train", 99, 100)
    assert list(shown._tasks) == ["train"]
    shown.progress("train", 100, 100)
    assert shown._tasks == {}
    shown.close()


def test_in_a_notebook_its_own_bar_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[tuple[str, int, int]]()
    monkeypatch.setattr("convsmith.training.observers.console.notebook", lambda: object())
    monkeypatch.setattr("convsmith.training.observers.console.notebook_progress", lambda *given: told.append(given))
    shown = Console()
    assert not shown._console.stderr
    shown.progress("train", 1, 2)
    shown.close()
    assert told == [("train", 1, 2)]
    assert Console(RichConsole(file=io.StringIO()))._in_notebook is False


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What TensorBoard would get."""
    events = list[Any]()
    monkeypatch.setattr(TensorBoard, "_write", lambda _self, event: events.append(event))
    return events


@pytest.mark.parametrize(("step", "first"), [(0, 0), (7, 8)])
def test_tensorboard_hides_what_came_after_the_step(tmp_path: Path, events: list[Any], step: int, first: int) -> None:
    TensorBoard(tmp_path, step).close()
    assert [event.step for event in events] == [0, first]


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_tensorboard_shows_64_images_in_colours_that_people_see(
    tmp_path: Path, events: list[Any], channels: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = list[tuple[int, ...]]()
    monkeypatch.setattr(
        "torch.utils.tensorboard.summary.image", lambda _name, images, dataformats: shapes.append(tuple(images.shape))
    )
    board = TensorBoard(tmp_path, 0)
    board.first_batch(torch.zeros(65, channels, 2, 2, dtype=torch.uint8))
    board.close()
    assert shapes == [(64, shown, 2, 2)]
    assert len(events) == 3
