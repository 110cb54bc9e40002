"""Runs commands in forks of a process that has imported everything; in each, one call to the system fails.

It reads a question, in JSON, from each line of standard input, and answers with a line on standard output.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from convsmith.cli.main import main
from convsmith.models import registry
from convsmith.models.weights.download import download
from convsmith.training import trainer
from tests.training.tiny_model import TinyNet

PATIENCE = 300


def serve() -> None:
    """Answer until standard input ends."""
    torch.set_num_threads(1)  # threads that compute would not live on in a fork
    registry._builders()["tiny"] = TinyNet
    trainer.RECORD_EVERY = 2
    with os.fdopen(os.dup(1), "w") as answers, tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            answer = _in_fork(json.loads(line), Path(folder))
            for name in answer.pop("modules", ()):  # the next fork need not import them again
                with suppress(Exception):
                    importlib.import_module(name)
            print(json.dumps(answer), file=answers, flush=True)


def _in_fork(ask: dict[str, Any], folder: Path) -> dict[str, Any]:
    printed, left = folder / "printed", folder / "left"
    left.write_text("{}")
    child = os.fork()
    if child == 0:
        _be_child(ask, printed, left)
    end = time.monotonic() + PATIENCE
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.005)
    if not ended[0]:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return {"code": None, "printed": printed.read_text()}
    code = os.waitstatus_to_exitcode(ended[1])
    return {"code": code, "printed": printed.read_text(errors="replace"), **json.loads(left.read_text())}


def _be_child(ask: dict[str, Any], printed: Path, left: Path) -> None:
    before = set(sys.modules)
    faults = ctypes.CDLL(None)
    descriptor = os.open(printed, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faults.faults_arm(os.fsencode(ask["root"]), ask["at"], ask["error"], ask["stays"])
    code = 70
    try:
        _command(ask["words"], ask["packs"])
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    done = {"calls": faults.faults_count()}
    if ask["at"] == 0:
        faults.faults_notes.restype = ctypes.c_char_p
        done |= {"notes": os.fsdecode(faults.faults_notes()), "modules": sorted(set(sys.modules) - before)}
    faults.faults_arm(b"", 0, 0, 0)
    left.write_text(json.dumps(done))
    os._exit(code)


def _command(words: Sequence[str], packs: bool) -> None:
    if words[0] == "download":
        url, file, digest = words[1:]
        with mock.patch("convsmith.cli.main.app", side_effect=lambda args: download(url, Path(file), digest)):
            main([])
    elif packs:
        main(words)
    else:
        with mock.patch("convsmith.training.train.pack"):
            main(words)


if __name__ == "__main__":
    serve()
