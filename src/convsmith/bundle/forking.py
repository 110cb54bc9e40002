"""Lets a process be forked while its threads predict.

A fork copies the forking thread only. A lock inside a runtime that another thread holds at that moment, and each
inference takes several, would stay locked in the child for good. So a fork waits until no model runs, and models wait
until it is over. The runtimes' own threads are not copied either: in the child a model runs on the calling thread.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from convsmith.system import at_fork

_FALLING_ASLEEP = 0.001  # seconds after which the threads of a runtime spin no longer, and hold no lock


class _Gate:
    """Several threads may be inside, or one forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside: set[int] = set()
        self._forks = 0

    @contextmanager
    def no_fork(self) -> Iterator[None]:
        """Hold off `os.fork` in this process while the block runs; not to be nested."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: not self._forks)
            self._inside.add(me)
        try:
            yield
        finally:
            with self._changed:
                self._inside.discard(me)
                self._changed.notify_all()

    def before_fork(self) -> None:
        self._changed.acquire()
        self._forks += 1
        # this thread itself is inside where a signal's handler forks
        self._changed.wait_for(lambda: self._inside <= {threading.get_ident()})
        time.sleep(_FALLING_ASLEEP)

    def after_fork(self) -> None:
        self._forks -= 1
        self._changed.notify_all()
        self._changed.release()


_gate = _Gate()
no_fork = _gate.no_fork
_device_in_use = _device_lost = False


def use_device() -> None:
    """Note that this process computes on something else than a CPU, which no process that is forked from it can do."""
    global _device_in_use
    _device_in_use = True


def device_is_lost() -> bool:
    """Whether this process was forked from one that computed on a device."""
    return _device_lost


def _after_in_child() -> None:
    global _device_lost
    _gate.__init__()  # type: ignore[misc]  # none of the threads that wait or are inside is here
    gc.freeze()  # a runtime that is freed waits for its threads, which are not here either
    _device_lost = _device_lost or _device_in_use


at_fork(before=_gate.before_fork, after_in_parent=_gate.after_fork, after_in_child=_after_in_child)
