"""Reading that goes on in threads while what was read is worked on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from convsmith.machine import available_cores

Item = TypeVar("Item")
Read = TypeVar("Read")
_MAX_THREADS = 4


def read_ahead(read: Callable[[Item], Read], items: Iterable[Item], batch_size: int) -> Iterator[list[Read]]:
    """The results of `read` for each item, in order, in batches.

    A few threads read up to two batches ahead, so memory does not grow with the number of items.
    """
    with ThreadPoolExecutor(min(_MAX_THREADS, available_cores()), "decode") as pool:
        source = iter(items)
        ahead: deque[Future[Read]] = deque()
        try:
            while True:
                ahead.extend(pool.submit(read, item) for item in islice(source, 2 * batch_size - len(ahead)))
                if not ahead:
                    return
                yield [ahead.popleft().result() for _ in range(min(batch_size, len(ahead)))]
        finally:
            pool.shutdown(cancel_futures=True)
