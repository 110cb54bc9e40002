"""Children that are forked while threads of their parent predict."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from convsmith.bundle.forking import no_fork
from convsmith.bundle.predictor import Bundle, load
from tests.colours import picture

PATIENCE = 60  # seconds after which a child hangs

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]


@contextmanager
def threads_that_predict(bundle: Bundle, count: int) -> Iterator[None]:
    enough = threading.Event()

    def predict() -> None:
        while not enough.is_set():
            bundle.predict(picture("red"))

    threads = [threading.Thread(target=predict) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def exit_code(child: int) -> int | None:
    """How a child ends; None if it must be killed."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def fork_that_predicts(bundle: Bundle) -> int:
    child = os.fork()
    if child == 0:
        os._exit(0 if bundle.predict(picture("blue")).to_dict()["label"] == "blue" else 1)
    return child


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_child_of_a_process_whose_threads_predict_predicts(colour_bundle: Path, runtime: str) -> None:
    if runtime == "openvino":
        pytest.importorskip("openvino")
    bundle = load(colour_bundle, threads=2, runtime=runtime)
    with threads_that_predict(bundle, 3):
        assert [exit_code(fork_that_predicts(bundle)) for _ in range(5)] == [0] * 5


def test_a_fork_waits_until_no_model_runs() -> None:
    running, finish, forked = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        with no_fork():
            running.set()
            assert finish.wait(PATIENCE)
            assert not forked.is_set()

    def fork() -> None:
        child = os.fork()
        if child == 0:
            os._exit(0)
        forked.set()
        os.waitpid(child, 0)

    threads = [threading.Thread(target=run), threading.Thread(target=fork)]
    threads[0].start()
    assert running.wait(PATIENCE)
    threads[1].start()
    assert not forked.wait(0.2)
    finish.set()
    assert forked.wait(PATIENCE)
    for thread in threads:
        thread.join()


def test_a_fork_in_the_midst_of_a_run_of_the_same_thread_does_not_wait_for_itself() -> None:
    """As in the handler of a signal."""
    with no_fork():
        child = os.fork()
        if child == 0:
            with no_fork():
                os._exit(0)
        assert exit_code(child) == 0


def test_a_bundle_that_its_parent_left_to_the_garbage_holds_no_child(colour_bundle: Path) -> None:
    gc.disable()
    try:
        cycle: list[object] = [load(colour_bundle, threads=2)]
        cycle.append(cycle)
        del cycle
        child = os.fork()
        if not child:
            gc.collect()
            os._exit(0)
    finally:
        gc.enable()
    assert exit_code(child) == 0
