"""A training goes on without its console, and says so in its log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.conftest import SMALL


@pytest.mark.slow
@pytest.mark.parametrize("console", [">/dev/full 2>&1", ">&- 2>&-", "2>&1 | true; exit ${PIPESTATUS[0]}"])
def test_a_training_outlives_its_console_and_notes_it_in_its_log(digits: Path, tmp_path: Path, console: str) -> None:
    words = " ".join((*SMALL, "schedule.epochs=1"))
    command = f"{sys.executable} -m convsmith.cli.main train digits --data {digits} --out {tmp_path / 'run'} {words}"
    told = subprocess.run(["bash", "-c", f"{command} {console}"], capture_output=True, check=False, timeout=300)
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "run/bundle/bundle.json").exists()
    log = (tmp_path / "run/log.txt").read_text()
    assert "WARNING standard error cannot be written (" in log
    assert "WARNING standard output cannot be written (" in log
