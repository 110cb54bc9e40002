"""What long work prints may be lost, and costs nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from convsmith.output import output_that_may_be_lost

PATIENCE = 60
PRINTS = """
import os, sys
from convsmith.output import open_closed_streams, output_that_may_be_lost
open_closed_streams()
with output_that_may_be_lost():
    for number in range(3000):
        print("line", number, "x" * 100)
        print("line", number, file=sys.stderr)
os.write(3, b"done")
"""


def run(script: str, redirection: str) -> str:
    """What a script writes to descriptor 3 while a shell redirects the others."""
    command = ["bash", "-c", f'"$0" -c "$1" 3>&1 {redirection}', sys.executable, script]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.parametrize(
    "redirection",
    [
        ">/dev/full 2>/dev/full",
        ">&- 2>&-",
        ">&- 2>&- <&-",
        "> >(exit) 2> >(exit)",
        "> >(exec sleep 3 >/dev/null) 2> >(exec sleep 3 >/dev/null)",
    ],
    ids=["full", "closed", "all closed", "broken pipe", "pipe that is not read"],
)
def test_output_that_goes_nowhere_does_not_stop_the_work(redirection: str) -> None:
    assert run(PRINTS, redirection) == "done"


def test_output_that_is_read_is_whole() -> None:
    lines = "for number in range(500): print(number); print(-number, file=sys.stderr)"
    script = f"import sys\nfrom convsmith.output import *\nwith output_that_may_be_lost():\n    {lines}"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert [int(line) for line in result.stdout.split()] == list(range(500))
    assert [int(line) for line in result.stderr.split()] == [-number for number in range(500)]


def test_a_process_that_is_forked_off_prints_too() -> None:
    script = """
import os
from convsmith.output import *
with output_that_may_be_lost():
    print("parent", flush=True)
    if os.fork() == 0:
        print("child")
        os._exit(0)
    os.wait()
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert sorted(result.stdout.split()) == ["child", "parent"]


def test_no_file_gets_the_number_of_a_closed_stream() -> None:
    script = """
import os
from convsmith.output import open_closed_streams
open_closed_streams()
os.write(3, str(os.open("/dev/null", os.O_RDONLY) > 3).encode())
"""
    assert run(script, "<&- >&- 2>&-") == "True"


def test_a_stream_of_the_caller_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with output_that_may_be_lost():
        print("to the caller")
    assert capsys.readouterr().out == "to the caller\n"
