"""Maps of the models that are served, which are looked for when they are first wanted."""

from __future__ import annotations

import logging
from threading import Lock
from weakref import WeakKeyDictionary

from convsmith.bundle.cam import Cam, open_cam
from convsmith.bundle.predictor import Bundle
from convsmith.errors import ConvsmithError

logger = logging.getLogger(__name__)


class Cams:
    """Makes the maps of each bundle.

    Args:
        threads: how many threads a map may use.
    """

    def __init__(self, threads: int) -> None:
        self._threads, self._lock = threads, Lock()
        self._found: WeakKeyDictionary[Bundle, Cam | None] = WeakKeyDictionary()

    def of(self, bundle: Bundle) -> Cam | None:
        """The maker of a bundle's maps; None where its model has none. The first time it reads the bundle's file."""
        with self._lock:
            if bundle not in self._found:
                self._found[bundle] = self._open(bundle)
            return self._found[bundle]

    def _open(self, bundle: Bundle) -> Cam | None:
        try:
            return open_cam(bundle, self._threads)
        except ConvsmithError as error:  # its folder has gone or holds another one meanwhile
            logger.warning("where a model looks cannot be shown: %s", error)
            return None
