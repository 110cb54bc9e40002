"""What long work prints may be lost, and costs nothing else."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from convsmith.output import errors_name_the_output, output_that_may_be_lost

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


@contextmanager
def standard_error(descriptor: int) -> Iterator[None]:
    """Let sys.stderr be a stream to that descriptor."""
    before = sys.stderr
    sys.stderr = io.TextIOWrapper(io.FileIO(descriptor, "w", closefd=False), "utf-8", write_through=True)
    try:
        yield
    finally:
        sys.stderr = before


def unread_pipe() -> tuple[int, int]:
    """Its ends; no byte more fits in."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 512)
    except BlockingIOError:
        os.set_blocking(writer, True)
    return reader, writer


def pipe_without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("kind", ["full", "no reader", "unread"])
def test_what_cannot_be_written_is_lost_with_one_warning(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    reader = -1
    match kind:
        case "full":
            descriptor = os.open("/dev/full", os.O_WRONLY)
        case "no reader":
            descriptor = pipe_without_reader()
        case _:
            reader, descriptor = unread_pipe()
    with standard_error(descriptor), output_that_may_be_lost("stderr"):
        for _ in range(100):
            print("x" * 10_000, file=sys.stderr, flush=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert caplog.messages[0].startswith("standard error cannot be written (")
    os.close(descriptor)
    if reader >= 0:
        os.close(reader)


def test_what_a_reader_that_comes_late_takes_is_all_there_and_in_order() -> None:
    reader, writer = os.pipe()
    text = "".join(f"{number}\n" for number in range(2000))
    with standard_error(writer), output_that_may_be_lost("stderr"):
        sys.stderr.write(text)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:  # noqa: PTH123 - a descriptor has no path
        assert pipe.read() == text


def test_what_a_fork_prints_is_not_what_its_parent_has_kept() -> None:
    reader, writer = unread_pipe()
    with standard_error(writer), output_that_may_be_lost("stderr"):
        print("kept by the parent", file=sys.stderr)
        child = os.fork()
        if child == 0:
            os.read(reader, 1 << 20)
            print("of the child", file=sys.stderr)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(reader, 1 << 20) == b"of the child\n"
    assert os.read(reader, 1 << 20) == b"kept by the parent\n"


def test_the_warning_comes_again_in_a_block_inside(caplog: pytest.LogCaptureFixture) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    with standard_error(full), output_that_may_be_lost("stderr"):
        print("before there is a log", file=sys.stderr)
        logging.getLogger("convsmith").info("the log begins")
        with output_that_may_be_lost("stderr"):
            print("in the log", file=sys.stderr)
    assert len(caplog.messages) == 2
    os.close(full)


def convsmith(shell: str) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m convsmith.cli.main {shell}"
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)


def test_an_answer_that_cannot_be_printed_is_an_error_of_two_lines() -> None:
    told = convsmith("recipes > /dev/full")
    assert told.returncode == 2
    assert told.stderr == "error: standard output cannot be used: No space left on device\nMake room.\n"


def test_an_answer_whose_reader_has_left_ends_without_a_word() -> None:
    told = convsmith("recipes | true; exit ${PIPESTATUS[0]}")
    assert told.returncode in (0, 1)  # 0 where all was written before the reader left
    assert told.stderr == ""


@pytest.mark.parametrize(("more", "lost"), [(0, False), (1, True)])
def test_64_kilobytes_are_kept_for_a_reader_that_comes_late(
    more: int, lost: bool, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = unread_pipe()
    os.set_blocking(reader, False)
    with standard_error(writer), output_that_may_be_lost("stderr"):
        sys.stderr.buffer.write(b"y" * 65_536)
        sys.stderr.buffer.write(b"z" * more)
        assert bool(caplog.messages) is lost
        read = b""
        with suppress(BlockingIOError):
            while True:
                read += os.read(reader, 1 << 20)
                sys.stderr.flush()
    assert read.count(b"y") == 65_536
    os.close(reader)
    os.close(writer)


def test_who_still_holds_the_stream_after_the_block_writes_to_nothing(caplog: pytest.LogCaptureFixture) -> None:
    reader, writer = os.pipe()
    with standard_error(writer), output_that_may_be_lost("stderr"):
        held = sys.stderr
        assert (held.fileno(), held.isatty(), held.writable()) == (writer, False, True)
    held.write("x\n")
    os.close(writer)
    assert os.read(reader, 9) == b""
    assert not caplog.messages
    os.close(reader)


def test_errors_of_what_is_printed_name_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    before = io.TextIOWrapper(io.FileIO(full, "w", closefd=False), "utf-8", write_through=True)
    monkeypatch.setattr("sys.stdout", before)
    with pytest.raises(OSError, match="No space left") as caught, errors_name_the_output():
        print("x", flush=True)
    assert caught.value.filename == "standard output"
    assert sys.stdout is before
    os.close(full)  # which is open still
