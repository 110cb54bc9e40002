"""The stages of a long job, whose results are kept, so that none is done twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from convsmith.storage import seal_holds, sealed, write_file

T = TypeVar("T")


class Stages:
    """The results of the stages of a job, a file each.

    Args:
        folder: for the files.
        of: names what they start from; what came of anything else is done again.

    Attributes:
        seconds: what each stage took, when it was done.
    """

    def __init__(self, folder: Path, of: str) -> None:
        self._folder, self._of = folder, of
        self.seconds: dict[str, float] = {}

    def once(self, name: str, kind: type[T], work: Callable[[], T], holds: Callable[[T], bool] = lambda _: True) -> T:
        """The result of a stage, which is done unless it was done before.

        Args:
            name: of the stage.
            kind: a dataclass that it gives.
            work: does it.
            holds: whether what else it left behind is still there.
        """
        file, adapter = self._folder / f"{name}.json", TypeAdapter(kind)
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            if seal_holds(said) and said["of"] == self._of and holds(given := adapter.validate_python(said["given"])):
                self.seconds[name] = said["seconds"]
                return given
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass  # it has not been done, or its file cannot be read any more
        start = time.perf_counter()
        given = work()
        self.seconds[name] = time.perf_counter() - start
        values = {"of": self._of, "seconds": self.seconds[name], "given": adapter.dump_python(given, mode="json")}
        self._folder.mkdir(exist_ok=True)
        write_file(file, json.dumps(sealed(values)) + "\n")
        return given
