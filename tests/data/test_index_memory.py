"""Memory for an index of millions of files, and for what a training does with it before its first step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "index.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_a_million_files_take_at_most_110_bytes_each_up_to_the_first_batch() -> None:
    """A path has 29 of these, its offset, class, size and time 32, and the order of an epoch 16; lists took 260."""
    done = subprocess.run([sys.executable, BENCHMARK, "1000000"], capture_output=True, text=True, check=True)
    (last,) = (line for line in done.stdout.splitlines() if "first batch" in line)
    assert int(last.split("|")[-2]) <= 110
