"""The models that a server answers with: by name and version, each loaded while the others answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from convsmith.bundle.predictor import Bundle
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.serve.places import Found, Key, Places
from convsmith.serve.problems import Problem, unavailable

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at a folder that is watched


@dataclass(eq=False)
class Model:
    """One version of a named model.

    Who answers a request keeps its `bundle`: a model that is replaced or forgotten meanwhile answers to the end.

    Attributes:
        name: what requests call it.
        version: likewise.
        path: the bundle's folder.
        bundle: the model in memory, once it is loaded and has run once.
        failure: why it could not be loaded; a bundle that was loaded before answers on.
        asleep: out of memory to make room for others; it is loaded again when it is asked.
        unloaded: out of memory since somebody wanted that.
        state: of the folder when it was last loaded, as `Found` has it.
        used: when it was last asked, on `time.monotonic`.
        loading: ends when it is loaded, while it is being loaded.
    """

    name: str
    version: str
    path: Path
    bundle: Bundle | None = None
    failure: Exception | None = None
    asleep: bool = False
    unloaded: bool = False
    state: object = None
    used: float = 0.0
    loading: asyncio.Future[Bundle | None] | None = None

    @property
    def usable(self) -> bool:
        """Whether it answers, at once or when it is loaded again."""
        return self.bundle is not None or self.asleep

    def check_usable(self) -> None:
        """A `Problem` as `loaded` raises it unless it answers."""
        if not self.asleep:
            self.loaded()

    def loaded(self) -> Bundle:
        """The bundle; a `Problem` of status 503 if there is none yet or will never be, of 404 if it was unloaded."""
        if self.bundle is not None:
            self.used = time.monotonic()
            return self.bundle
        if self.unloaded:
            fix = f"Load it: POST /v2/repository/models/{self.name}/load."
            raise Problem(404, f"the model `{self.name}` is not loaded", "it was unloaded", fix)
        if self.failure:
            raise unavailable("the model cannot be loaded; the server's log says why")
        raise unavailable("the model is being loaded")


class Models:
    """All models of a server, the first of them the one that is meant where a request names none.

    Args:
        open_bundle: loads the model of a folder.
        places: where the bundles are.
        most: how many are in memory; one more puts out the one that was not asked for the longest time.
        defaults: versions that are meant where only their name is given; else it is the highest that can be loaded.

    Attributes:
        failure_is_told: whether somebody else says why no model could be loaded; the log does otherwise.
        settled: whether all that were there at the start are loaded, as far as they can be.
        may_change: whether models may come when all that there are cannot be loaded.
    """

    def __init__(
        self,
        open_bundle: Callable[[Path], Bundle],
        places: Places,
        most: int | None = None,
        defaults: tuple[Key, ...] = (),
    ) -> None:
        self._open_bundle, self._places, self._most = open_bundle, places, most
        self._defaults = {key.name: key.version for key in defaults}
        self._models: dict[str, dict[str, Model]] = {}
        self._seen: dict[Key, object] = {}
        self._turn, self._stopped = asyncio.Lock(), asyncio.Event()
        self.failure_is_told = self.settled = self.may_change = False

    def __iter__(self) -> Iterator[Model]:
        return (model for versions in list(self._models.values()) for model in list(versions.values()))

    def versions(self, name: str) -> list[Model]:
        """All versions of a name, the highest first; a `Problem` of status 404 if there is none."""
        if name not in self._models:
            meant = did_you_mean(name, self._models)
            raise Problem(404, f"there is no model `{name}`{meant}", f"served are: {', '.join(self._models) or 'none'}")
        order = {model: Key(name, model.version).order for model in self._models[name].values()}
        return sorted(order, key=order.__getitem__, reverse=True)

    def find(self, name: str | None = None, version: str | None = None) -> Model:
        """The model of that name and version, by default the first; a `Problem` of status 404 if there is none."""
        if name is None:
            if not self._models:
                raise unavailable("there is no model yet")
            name = next(iter(self._models))
        versions = self.versions(name)
        version = version or self._defaults.get(name)
        if version is None:
            usable = (model for model in versions if model.usable)
            coming = (model for model in versions if not (model.failure or model.unloaded))
            return next(usable, None) or next(coming, versions[0])
        for model in versions:
            if model.version == version:
                return model
        there = ", ".join(model.version for model in versions)
        raise Problem(404, f"there is no version {version} of `{name}`", f"there is version {there}")

    @property
    def failure(self) -> Exception | None:
        """Why no prediction will ever be answered; None while there is a model that is or may come."""
        models = list(self)
        is_final = not self.may_change and all(model.failure and not model.bundle for model in models)
        return models[0].failure if models and is_final else None

    async def run(self, pool: Executor) -> None:
        """Load one model after the other without blocking the event loop, and those that come later, until `stop`."""
        await self.look(pool)
        self.settled = True
        while self._places.may_change and not self._stopped.is_set():
            try:
                await asyncio.wait_for(self._stopped.wait(), LOOK_SECONDS)
            except TimeoutError:
                await self.look(pool)

    def stop(self) -> None:
        """Look for no more models."""
        self._stopped.set()

    async def look(self, pool: Executor, *, at_once: bool = False) -> None:
        """Load what has come, load anew what was replaced, and forget what has gone.

        Args:
            pool: runs what would block the event loop.
            at_once: load what has changed since the last look too, which may still be being copied.
        """
        try:
            found = await asyncio.get_running_loop().run_in_executor(pool, self._places.find)
        except OSError as error:  # a disk that is gone for a moment takes no model with it
            logger.warning("models cannot be looked for: %s", error)
            return
        for model in list(self):
            if (key := Key(model.name, model.version)) not in found:
                self._forget(key)
        new = [(key, place) for key, place in found.items() if self._is_new(key, place)]
        if self.settled and not at_once:
            new = [(key, place) for key, place in new if self._seen.get(key) == place.state]
        self._seen = {key: place.state for key, place in found.items()}
        models = [self._note(key, place) for key, place in new]
        for model in models:
            if self.settled or self._has_room():
                await self.load(model, pool)
            else:
                model.asleep = True

    async def awake(self, model: Model, pool: Executor) -> Bundle:
        """The bundle of a model, which is loaded if it was put out to make room; raises as `Model.loaded` does."""
        found = await self.load(model, pool) if model.asleep else None
        return found or model.loaded()  # by now it may have been put out again

    async def load(self, model: Model, pool: Executor) -> Bundle | None:
        """Load a model, again where it is in memory; None if that goes wrong: its `failure` says why, and the log."""
        if model.loading is None:
            model.loading = asyncio.ensure_future(self._load(model, pool))
        return await asyncio.shield(model.loading)  # who asked may leave

    async def unload(self, model: Model) -> None:
        """Put a model out of memory until it is loaded by hand."""
        async with self._turn:
            model.bundle, model.asleep, model.unloaded = None, False, True

    async def _load(self, model: Model, pool: Executor) -> Bundle | None:
        bundle = None
        async with self._turn:
            self._make_room(model)
            try:
                bundle = await asyncio.get_running_loop().run_in_executor(pool, self._open_bundle, model.path)
                model.bundle, model.failure, model.used = bundle, None, time.monotonic()
            except Exception as error:
                model.failure = error
                if not (self.failure_is_told and self.failure):
                    about = f"{model.name} {model.version}: " if len(list(self)) > 1 else ""
                    logger.error("%s%s", about, error, exc_info=not isinstance(error, ConvsmithError))
            finally:
                model.asleep, model.loading = False, None
        return bundle

    def _is_new(self, key: Key, place: Found) -> bool:
        known = self._models.get(key.name, {}).get(key.version)
        return known is None or (known.state != place.state and not known.unloaded)

    def _note(self, key: Key, place: Found) -> Model:
        versions = self._models.setdefault(key.name, {})
        model = versions.setdefault(key.version, Model(key.name, key.version, place.path))
        model.path, model.state = place
        return model

    def _forget(self, key: Key) -> None:
        del self._models[key.name][key.version]
        if not self._models[key.name]:
            del self._models[key.name]

    def _has_room(self) -> bool:
        return self._most is None or sum(model.bundle is not None for model in self) < self._most

    def _make_room(self, wanted: Model) -> None:
        """Put out those that were not asked for the longest time; who is being answered by them keeps them."""
        others = sorted((it for it in self if it.bundle and it is not wanted), key=lambda it: it.used)
        kept = len(others) if self._most is None else self._most - 1
        for model in others[: max(0, len(others) - kept)]:
            model.bundle, model.asleep = None, True
