"""Trainings in a real kernel of Jupyter: bars, an interrupted cell, the same cell again, answers as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from tests.training.conftest import SMALL, digits

__all__ = ["digits"]

pytestmark = pytest.mark.slow

Output = dict[str, Any]
SECONDS = 120  # for one message of a busy machine


class Notebook:
    """A kernel, in which one cell is run after another."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client

    def run(self, code: str, watch: Callable[[Output], None] = lambda _: None) -> list[Output]:
        """The outputs of a cell: what the messages of the kernel say, each with its `kind`."""
        asked = self.client.execute(code)
        outputs: list[Output] = []
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=SECONDS)
            except Empty:
                pytest.fail(f"the kernel is silent after {outputs[-3:]}")
            if message["parent_header"].get("msg_id") != asked:
                continue
            output = {"kind": message["msg_type"], **message["content"]}
            if output["kind"] == "status" and output["execution_state"] == "idle":
                return outputs
            outputs.append(output)
            watch(output)


def texts(outputs: list[Output], name: str) -> str:
    return "".join(it["text"] for it in outputs if it["kind"] == "stream" and it["name"] == name)


@pytest.fixture(scope="module")
def notebook(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notebook]:
    pytest.importorskip("ipykernel")
    manager_module = pytest.importorskip("jupyter_client.manager")
    folder = tmp_path_factory.mktemp("notebook")
    manager, client = manager_module.start_new_kernel(kernel_name="python3", cwd=str(folder), startup_timeout=SECONDS)
    started = Notebook(manager, client)
    started.run(f"import convsmith as cs\ndata, words = {str(digits)!r}, {[*SMALL]!r}")
    yield started
    client.stop_channels()
    manager.shutdown_kernel(now=True)


TRAIN = "run = cs.train('digits', data, 'runs/x', overrides=[*words, 'schedule.epochs=12'])"


def test_a_cell_is_interrupted_goes_on_and_a_second_training_follows(notebook: Notebook) -> None:
    interrupted = False

    def interrupt(output: Output) -> None:
        nonlocal interrupted
        if not interrupted and "epoch   1" in output.get("text", ""):
            interrupted = True
            notebook.manager.interrupt_kernel()

    outputs = notebook.run(TRAIN, interrupt)
    (error,) = (it for it in outputs if it["kind"] == "error")
    assert error["ename"] == "TrainingInterrupted"
    assert error["traceback"][0].startswith("TrainingInterrupted: stopped by SIGINT after step ")
    assert len("\n".join(error["traceback"]).splitlines()) == 2
    assert texts(outputs, "stderr") == ""

    outputs = notebook.run(TRAIN)
    assert not [it for it in outputs if it["kind"] == "error"]
    assert "epoch  12" in texts(outputs, "stdout")
    assert "\x1b" not in texts(outputs, "stdout")
    assert texts(outputs, "stderr") == ""

    outputs = notebook.run("cs.train('digits', data, 'runs/y', overrides=words, resume='never').bundle.is_dir()")
    assert [it["data"]["text/plain"] for it in outputs if it["kind"] == "execute_result"] == ["True"]


def test_work_has_a_bar_that_moves_and_goes(notebook: Notebook) -> None:
    outputs = notebook.run("cs.train('digits', data, 'runs/bar', overrides=words)")
    shown = [it["data"]["text/html"] for it in outputs if it["kind"] in ("display_data", "update_display_data")]
    assert sum(it["kind"] == "display_data" for it in outputs) == 1
    assert any("<progress value=" in it for it in shown)
    assert shown[-1] == ""


def test_what_is_printed_in_a_training_comes_into_the_cell(notebook: Notebook) -> None:
    outputs = notebook.run(
        "import sys\n"
        "from convsmith.training.observers.base import Observer\n"
        "class Says(Observer):\n"
        "    def metrics(self, record): print('heard', record.epoch, file=sys.stderr)\n"
        "cs.train('digits', data, 'runs/said', observers=[Says()], overrides=words)"
    )
    assert "heard 3" in texts(outputs, "stderr")


def test_an_answer_is_shown_as_a_table(notebook: Notebook) -> None:
    outputs = notebook.run("cs.evaluate(cs.train('digits', data, 'runs/z', overrides=words).bundle, data)")
    (answer,) = (it["data"] for it in outputs if it["kind"] == "execute_result")
    assert "<table>" in answer["text/html"]
    assert "top-1" in answer["text/html"]
    assert answer["text/plain"].startswith("Evaluation(images=20, ")


def test_a_thread_of_a_notebook_trains_too(notebook: Notebook) -> None:
    outputs = notebook.run(
        "from threading import Thread\n"
        "thread = Thread(target=cs.train, args=('digits', data, 'runs/t'), kwargs={'overrides': words})\n"
        "thread.start(); thread.join(); cs.Run('runs/t')"
    )
    assert not [it for it in outputs if it["kind"] == "error"]
    (answer,) = (it["data"] for it in outputs if it["kind"] == "execute_result")
    assert "bundle" in answer["text/html"]
