"""The models that a server answers with: by name and version, each loaded while the others answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from convsmith.bundle.predictor import Bundle
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.serve.problems import Problem, unavailable

logger = logging.getLogger(__name__)

NAME = "model"
"""The name of a model that was given none."""

FIRST_VERSION = "1"


@dataclass(eq=False)
class Model:
    """One version of a named model.

    Who answers a request keeps its `bundle`: a model that is replaced or forgotten meanwhile answers to the end.

    Attributes:
        name: what requests call it.
        version: likewise.
        path: the bundle's folder.
        bundle: the model in memory, once it is loaded and has run once.
        failure: why it could not be loaded.
    """

    name: str
    version: str
    path: Path
    bundle: Bundle | None = None
    failure: Exception | None = None

    def loaded(self) -> Bundle:
        """The bundle; a `Problem` of status 503 if there is none yet or will never be."""
        if self.failure:
            raise unavailable("the model cannot be loaded; the server's log says why")
        if self.bundle is None:
            raise unavailable("the model is being loaded")
        return self.bundle


class Models:
    """All models of a server, the first of them the one that is meant where a request names none.

    Args:
        open_bundle: loads the model of a folder.
        bundles: the folder of each model, by name.

    Attributes:
        failure_is_told: whether somebody else says why the only model could not be loaded; the log does otherwise.
    """

    def __init__(self, open_bundle: Callable[[Path], Bundle], bundles: Mapping[str, Path]) -> None:
        self._open_bundle = open_bundle
        self._models = {name: Model(name, FIRST_VERSION, path) for name, path in bundles.items()}
        self.failure_is_told = False

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def find(self, name: str | None = None, version: str | None = None) -> Model:
        """The model of that name and version, by default the first; a `Problem` of status 404 if there is none."""
        if name is None:
            return next(iter(self))
        if name not in self._models:
            meant = did_you_mean(name, self._models)
            raise Problem(404, f"there is no model `{name}`{meant}", f"served are {', '.join(self._models)}")
        model = self._models[name]
        if version not in (None, model.version):
            raise Problem(404, f"there is no version {version} of `{name}`", f"there is version {model.version}")
        return model

    @property
    def failure(self) -> Exception | None:
        """Why no prediction will ever be answered; None while there is a model that is or may come."""
        failures = [model.failure for model in self]
        return failures[0] if all(failures) else None

    @property
    def settled(self) -> bool:
        """Whether no model is still being loaded."""
        return all(model.bundle or model.failure for model in self)

    async def load_all(self, pool: Executor) -> None:
        """Load one model after the other without blocking the event loop; what goes wrong is kept in its `failure`."""
        for model in self:
            await self._load(model, pool)

    async def _load(self, model: Model, pool: Executor) -> None:
        try:
            model.bundle = await asyncio.get_running_loop().run_in_executor(pool, self._open_bundle, model.path)
        except Exception as error:
            model.failure = error
            if not (self.failure_is_told and self.failure):
                logger.error("%s", error, exc_info=not isinstance(error, ConvsmithError))
