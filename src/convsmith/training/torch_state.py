"""Global state of torch, which trainings change, and which belongs to whoever called them."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.data._utils import signal_handling

from convsmith.system import signals
from convsmith.training.precision import pick_device

logger = logging.getLogger(__name__)

_in_use = threading.RLock()


@contextmanager
def torch_state_kept() -> Iterator[None]:
    """Leave torch's global generators, of the CPU and the current GPU, and its settings as they were before the block.

    A process has them once, so a block in another thread waits for the end of this one.
    """
    if not _in_use.acquire(blocking=False):
        logger.warning("another thread of this process is training: this one begins when that has ended")
        _in_use.acquire()
    try:
        device = pick_device()
        devices = [] if device.type == "cpu" else [device.index or 0]
        cudnn, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
        before = cudnn.deterministic, cudnn.allow_tf32
        try:
            with torch.random.fork_rng(devices, device_type=device.type), _signal_of_children_kept():
                yield
        finally:
            cudnn.deterministic, cudnn.allow_tf32 = before
            torch.set_float32_matmul_precision(products)
    finally:
        _in_use.release()


@contextmanager
def _signal_of_children_kept() -> Iterator[None]:
    """Take away the handler that torch's first loader with workers would leave to the whole process."""
    of_children = signals("SIGCHLD")
    if threading.current_thread() is not threading.main_thread() or not of_children:
        yield  # elsewhere none is set
        return
    (number,) = of_children
    handler, is_set = signal.getsignal(number), signal_handling._SIGCHLD_handler_set
    try:
        yield
    finally:
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
            signal_handling._SIGCHLD_handler_set = is_set
