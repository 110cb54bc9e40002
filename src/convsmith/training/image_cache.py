"""The cache of decoded images that a recipe asks for."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from hashlib import sha256

from convsmith.data.dataset import Keep, Split, keep_nothing, splits
from convsmith.data.digest import data_digest
from convsmith.errors import ConvsmithError
from convsmith.storage import size_of_text
from convsmith.training.session import Session

logger = logging.getLogger(__name__)

Cache = Callable[[Split], Keep]


def open_cache(session: Session) -> Cache:
    """Give the images of each split that were decoded before, or decode and keep them, as `data.cache` says.

    Processes on one machine share what is on the disk; of memory each has its part.

    Raises:
        ConvsmithError: there is no such cache on this system, or its file cannot be made.
    """
    recipe, dataset, world = session.recipe, session.dataset, session.world
    where, bound = recipe.data.cache, size_of_text(recipe.data.cache_size) or 0
    if where == "none":
        return lambda _: keep_nothing
    if sys.platform != "linux":
        raise ConvsmithError("data.cache is for Linux", fix="Set data.cache=none.")
    from convsmith.data.loading.pixel_cache import cache_in_memory, cache_on_disk  # uses what only Linux has

    first = {"train": 0, "val": 0, "extra": len(dataset.train)}
    numbers = len(dataset.train) + len(dataset.extra or ())
    stats = sha256(b"".join(samples.stats.tobytes() for samples in splits(dataset).values())).hexdigest()
    key = f"{dataset.root} {data_digest(dataset)} {stats} {recipe.augment} {recipe.preprocess} {recipe.data.masks}"
    if where == "memory":
        cache = cache_in_memory(key, numbers, bound // world.local_size)
    else:
        cache = cache_on_disk(session.run.path / "cache" / f"{socket.gethostname()}.pixels", key, numbers, bound)
    logger.info("decoded training images are kept %s, up to %s", _WHERE[where], recipe.data.cache_size)
    return lambda split: lambda i, make: cache.keep(first[split] + i, make)


_WHERE = {"memory": "in memory", "disk": "on the disk, in the run directory"}
