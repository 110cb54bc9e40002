"""How long one more question would wait, by how long the last ones took."""

from __future__ import annotations

from convsmith.serve.asked import Asked

_WEIGHT = 0.1  # of each question in the mean over the last ones


class Waiting:
    """The expected wait for a worker.

    Args:
        workers: questions that are answered at once.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._seconds: float | None = None

    def note(self, asked: Asked) -> None:
        """Learn from a question that has ended; one that was not answered says nothing."""
        if "inference" not in asked.seconds:
            return
        seconds = {"preprocess": 0.0, "answer": 0.0, **asked.seconds}
        work = seconds["preprocess"] + seconds["inference"] / asked.batch + seconds["answer"]
        self._seconds = work if self._seconds is None else (1 - _WEIGHT) * self._seconds + _WEIGHT * work

    def expected(self, active: int) -> float:
        """Seconds that one more would wait beside so many that wait or run; 0 while that is not known."""
        ahead = max(0, active - self._workers + 1)
        return ahead * (self._seconds or 0.0) / self._workers
