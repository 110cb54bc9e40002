"""Workers of a Ray cluster that answer images, each with its own copy of a bundle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from convsmith.allocation import keep_freed_memory
from convsmith.bundle.predictor import Bundle, load
from convsmith.data.folders.image_list import ImageList
from convsmith.devices import Place
from convsmith.errors import ConvsmithError, require_extra
from convsmith.jobs.answered import Answered, Answering

_CORES = 4  # of a worker, where all machines have as many
_IMAGES = 1024  # that a worker is asked for at once, about
_AT_ONCE = 2  # questions to a worker: one that it answers, one that waits


class Cluster(NamedTuple):
    """A Ray cluster, and how its workers run a bundle.

    Attributes:
        address: as `ray.init` takes it: `auto` is the one that this machine is a part of, `local` a new one on this
            machine alone.
        runtime, device: as `load` takes them; of `cuda` each worker has a GPU.
    """

    address: str
    runtime: str | None = None
    device: str = "auto"


class RayWorkers:
    """Workers that answer some of the images when they are asked.

    Args:
        actors: Ray's handles of them.
        images: how many there are.
        step: how many a worker is asked for at once.
    """

    def __init__(self, actors: list[Any], images: int, step: int) -> None:
        import ray

        self._actors, self._images, self._step = actors, images, step
        places = set(ray.get([actor.place.remote() for actor in actors]))
        if len(places) > 1:
            raise ConvsmithError(
                "the machines of the cluster run the bundle differently",
                "; ".join(sorted(f"{place.runtime} on {place.device}" for place in places if place)),
                "Name a --device that all of them have.",
            )
        self.place: Place | None = places.pop()

    def answer(self, first: int) -> Iterator[Answered]:
        """The answers to the images from that number on, in order, whichever worker has them first."""
        from ray.util import ActorPool

        pool = ActorPool(self._actors * _AT_ONCE)
        starts = range(first, self._images, self._step)
        for answered in pool.map(lambda actor, start: actor.answer.remote(start, self._step), starts):
            yield from answered


class _Worker:
    """One of them, in its own process."""

    def __init__(self, path: Path, options: tuple[int, str | None, str], held: list[Any]) -> None:
        import ray

        self._path, self._options = path, options
        keep_freed_memory()
        self._images, self._answering, folder = ray.get(held[0])
        os.chdir(folder)  # which paths of images may be relative to

    @cached_property
    def _model(self) -> Bundle[Any]:
        model: Bundle[Any] = load(self._path, *self._options)  # here, and not above, an error of ours comes through
        self._answering.check(model)
        return model

    def place(self) -> Place | None:
        return self._model.place

    def answer(self, first: int, count: int) -> list[Answered]:
        return list(self._answering.answer(self._model, islice(self._images.since(first), count)))


@contextmanager
def ray_workers(cluster: Cluster, path: Path, images: ImageList, answering: Answering) -> Iterator[RayWorkers]:
    """Start as many workers as the cluster has room for, in the block.

    Their machines have the bundle and the images by the same paths. A worker whose machine is lost is started on
    another one, and asked again.

    Args:
        cluster: where they are.
        path: the bundle's folder.
        images: all of them.
        answering: how they are answered.

    Raises:
        ConvsmithError: ray is not installed, or there is no such cluster.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise require_extra("ray", "a Ray cluster") from error
    is_own = not ray.is_initialized()
    if is_own:
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConvsmithError(
                f"there is no Ray cluster at {cluster.address}", str(error).partition("\n")[0]
            ) from error
    try:
        held = ray.put((images, answering, Path.cwd()))  # for as long as workers may start
        actors = _start(ray, path, cluster, held)
        batches = max(1, _IMAGES // answering.batch_size)  # whole ones, which are those of one process
        yield RayWorkers(actors, len(images), batches * answering.batch_size)
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, ConvsmithError):
            raise cause from error
        raise ConvsmithError("a worker of the cluster has failed", str(error).strip().rpartition("\n")[2]) from error
    finally:
        if is_own:
            ray.shutdown()


def cores_of_smallest() -> int:
    """How many cores each machine of the cluster has that has any: a worker that wants more is waited for in vain."""
    import ray

    return min(_cores_of_machines(ray), default=1)


def _cores_of_machines(ray: Any) -> list[int]:
    found = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return [cores for cores in found if cores]


def _start(ray: Any, path: Path, cluster: Cluster, held: Any) -> list[Any]:
    """Start a worker for each GPU, or for each few cores, of the cluster."""
    there, gpus = ray.cluster_resources(), cluster.device.startswith(("cuda", "gpu"))
    machines = _cores_of_machines(ray)
    cores = min([_CORES, *machines])
    count = int(there.get("GPU", 0)) if gpus else sum(of_machine // cores for of_machine in machines)
    if not count:
        raise ConvsmithError(f"the cluster has no {'GPU' if gpus else 'core'}", "", "Name another --device.")
    actor = ray.remote(num_cpus=cores, num_gpus=int(gpus), max_restarts=-1, max_task_retries=-1)(_Worker)
    options = (cores, cluster.runtime, cluster.device)
    return [actor.remote(path.resolve(), options, [held]) for _ in range(count)]
