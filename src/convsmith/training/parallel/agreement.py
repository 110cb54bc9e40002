"""Processes that train together must have been given the same: else what they report belongs to no model."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import version

from convsmith.bundle.images.limits import MAX_PIXELS_VARIABLE, max_pixels
from convsmith.data.augment.custom import custom_digest
from convsmith.data.dataset import DataSet
from convsmith.data.digest import data_digest
from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.models.registry import is_of_another_library
from convsmith.models.weights.published import list_weights
from convsmith.recipe.schema import Recipe
from convsmith.tasks.teacher import teacher_digest
from convsmith.training.parallel.distributed import gather
from convsmith.training.precision import pick_device
from convsmith.training.run import flat
from convsmith.training.run_weights import start_digest

_LIBRARIES = ("convsmith", "torch", "torchvision", "numpy", "pillow")
_OF_A_MACHINE = ("data.workers", "data.read_timeout")  # which no result depends on
_MOST, _WIDTH = 3, 40  # of what a message shows


def agree(recipe: Recipe, dataset: DataSet, shard: bool, world: World) -> None:
    """Raise a ConvsmithError in all processes that names what they were not all given alike."""
    if world.size == 1:
        return
    given = gather(world, _given(recipe, dataset, shard))
    differing = [
        f"{key} ({_told(values)})"
        for key in dict.fromkeys(key for one in given for key in one)
        if len(set(values := [one.get(key, "nothing") for one in given]) - {None}) > 1
    ]
    if differing:
        raise ConvsmithError(
            "the processes of this training were not given the same",
            f"these differ: {', '.join(differing)}",
            "Give every process the same command, the same files and the same versions.",
        )


def _given(recipe: Recipe, dataset: DataSet, shard: bool) -> dict[str, str | None]:
    """The inputs of this process, by the names that the user knows; None for one that is not needed any more."""
    bridged = recipe.model.name.partition("/")[:1] if is_of_another_library(recipe.model.name) else ()
    names, _, content = data_digest(dataset).rpartition(" ")
    resolved = flat(recipe.model_dump(mode="json"))
    files = {key: digest for key, digest in _digests(recipe).items() if _is_path(resolved[key])}
    return {
        **{f"version of {name}": version(name) for name in (*_LIBRARIES, *bridged)},
        "version of Python": ".".join(map(str, sys.version_info[:2])),
        "device": pick_device().type,
        "--shard": str(shard).lower(),
        MAX_PIXELS_VARIABLE: str(max_pixels()),
        "file names of --data": sha256(names.encode()).hexdigest()[:8],
        "content of --data": content[:8],
        **{key: str(value) for key, value in resolved.items() if key not in (*_OF_A_MACHINE, *files)},
        **{f"content of {key}": digest and digest[:8] for key, digest in files.items()},  # wherever the file lies
    }


def _digests(recipe: Recipe) -> dict[str, str | None]:
    """The content of files that the recipe names; None where they are gone, which is for who reads them to say."""
    digests = {"model.weights": start_digest(recipe)}
    if recipe.distillation is not None:
        teacher, digest = recipe.distillation.teacher, None
        with suppress(ConvsmithError, OSError):
            digest = teacher_digest(teacher)
        digests[f"distillation.teacher.{'weights' if teacher.bundle is None else 'bundle'}"] = digest
    if recipe.augment.custom is not None:
        digests["augment.custom"] = None
        with suppress(ConvsmithError):  # of a module that is missing here, which is for its trial to say
            digests["augment.custom"] = custom_digest(recipe.augment.custom)
    return digests


def _is_path(weights: str | None) -> bool:
    return weights not in (None, "pretrained", *list_weights())


def _told(values: Sequence[str | None]) -> str:
    """Which value which process has: `1 in process 3, 0 in 7 others`."""
    ranks: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        if value is not None:
            ranks.setdefault(value, []).append(rank)
    rarest_first = sorted(ranks.items(), key=lambda pair: len(pair[1]))
    return ", ".join(f"{_short(value)} in {_processes(found)}" for value, found in rarest_first[:_MOST])


def _short(value: str) -> str:
    return value if len(value) <= _WIDTH else f"{value[:_WIDTH]}..."


def _processes(ranks: list[int]) -> str:
    if len(ranks) > _MOST:
        return f"{len(ranks)} processes"
    return f"process{'es' * (len(ranks) > 1)} {', '.join(map(str, ranks))}"
