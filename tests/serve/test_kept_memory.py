"""Each of several processes that serve keeps freed memory: it is not forked, so it inherits nothing of that."""

from __future__ import annotations

import multiprocessing
import os
import resource
import socket
import sys
from collections.abc import Callable

import numpy as np
import pytest

from convsmith.serve.processes import _serve
from tests.serve.running import PATIENCE

ROUNDS, SIZE = 10, 2**24


def say_pages(_listener: socket.socket, say: Callable[[str], None]) -> None:
    """Say how many pages blocks that are freed again and again take of the kernel."""
    np.ones(SIZE, np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        np.ones(SIZE, np.uint8)
    say(str(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))


@pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""), reason="that is done for glibc"
)
def test_a_process_that_serves_keeps_freed_memory() -> None:
    heard, says = multiprocessing.Pipe(duplex=False)
    with socket.socket() as listener:
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(say_pages, listener, says, os.getpid())
        )
        process.start()
        assert heard.poll(PATIENCE)
        pages = int(heard.recv())
        process.join(PATIENCE)
    assert pages * 4 < ROUNDS * SIZE // resource.getpagesize()
