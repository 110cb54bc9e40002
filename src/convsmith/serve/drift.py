"""How far the images of late are from those that a model was validated on, as gauges."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from convsmith.bundle.predictor import Bundle
from convsmith.bundle.reference import brightness, class_groups, kinds_of, stability_index
from convsmith.serve.asked import Asked
from convsmith.serve.service import Service

WINDOW = 1000
"""Images of a model that are held against its reference: the last ones, of each process."""

FEWEST = 200
"""Images before which no index is shown: chance alone would move it."""

LABELS = ("model", "version", "kind")

_Key = tuple[str, str]
_Row = dict[str, int | NDArray[np.float64]]  # of one image: the bin of each kind, or its share in each of them


class Window:
    """The last images of one bundle, counted in the bins of its reference; at most `WINDOW` rows of 4 x 20 numbers.

    Args:
        bundle: whose answers they are.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        reference, distance = bundle.manifest.reference, bundle.manifest.distance
        self._histograms = dict(kinds_of(reference, distance))
        self.expected = {kind: np.array(it.counts) for kind, it in self._histograms.items()}
        if reference and reference.classes:
            self._groups = class_groups(reference.classes)
            self.expected["class"] = np.bincount(self._groups, reference.classes)
        self.counts = {kind: np.zeros(len(bins)) for kind, bins in self.expected.items()}
        self._rows = deque[_Row]()

    def add(self, asked: Asked) -> None:
        """Count an image, and forget the oldest where there are enough."""
        row = self._row_of(asked)
        if len(self._rows) == WINDOW:
            self._count(self._rows.popleft(), -1)
        self._rows.append(row)
        self._count(row, 1)

    def _count(self, row: _Row, times: int) -> None:
        for kind, place in row.items():
            if isinstance(place, int):
                self.counts[kind][place] += times
            else:
                self.counts[kind] += times * place

    def _row_of(self, asked: Asked) -> _Row:
        task, answer = self.bundle.task, asked.answer
        assert answer is not None
        values = {
            "brightness": None if asked.pixels is None else brightness(asked.pixels),
            "confidence": task.certainty(answer),
            "distance": None if answer.distance is None else answer.distance.value,
        }
        row: _Row = {}
        for kind, histogram in self._histograms.items():
            if (value := values[kind]) is not None:
                row[kind] = histogram.bin_of(value)
        if "class" in self.expected:
            shares = np.bincount(self._groups, task.shares(answer), len(self.expected["class"]))
            row["class"] = shares.astype(np.float64)
        return row


class Drift(Collector):
    """The population stability index of each version of a model, by kind: class, confidence, brightness and distance.

    Args:
        service: whose images it watches.
        gauge: takes the counts of the windows, by `LABELS` and bin.
        merged: gives that gauge as it is of all processes.
    """

    def __init__(self, service: Service, gauge: Gauge, merged: Callable[[], Iterable[Metric]]) -> None:
        self._service, self._gauge, self._merged = service, gauge, merged
        self._windows: dict[_Key, Window] = {}
        service.watchers.append(self._watch)

    def refresh(self) -> None:
        """Let the gauge show the windows of this process."""
        served = {(model.name, model.version) for model in self._service.models}
        for key in self._windows.keys() - served:
            for kind, counts in self._windows.pop(key).counts.items():
                self._show(key, kind, np.zeros(len(counts)))
        for key, window in list(self._windows.items()):
            for kind, counts in window.counts.items():
                self._show(key, kind, counts)

    def collect(self) -> Iterator[Metric]:
        """Give the index of all windows that hold enough images."""
        family = GaugeMetricFamily(
            "convsmith_drift_psi", "Population stability index against validation images.", labels=LABELS
        )
        counts: dict[tuple[str, ...], dict[int, float]] = {}
        for metric in self._merged():
            for sample in metric.samples if metric.name == "convsmith_drift_window" else ():
                of_kind = counts.setdefault(tuple(sample.labels[label] for label in LABELS), {})
                of_kind[int(sample.labels["bin"])] = sample.value
        for key, window in list(self._windows.items()):
            for kind, expected in window.expected.items():
                found = counts.get((*key, kind), {})
                actual = [max(0.0, found.get(number, 0.0)) for number in range(len(expected))]
                if sum(actual) >= FEWEST:
                    family.add_metric((*key, kind), stability_index(list(expected), actual))
        yield family

    def _watch(self, asked: Asked, _: Any) -> None:
        if asked.answer is None:
            return
        key = asked.model.name, asked.model.version
        window = self._windows.get(key)
        if window is None or window.bundle is not asked.bundle:
            if window is not None and asked.model.bundle is not asked.bundle:
                return  # it has been replaced meanwhile
            window = self._windows[key] = Window(asked.bundle)
        if window.expected:
            window.add(asked)

    def _show(self, key: _Key, kind: str, counts: NDArray[np.float64]) -> None:
        for number, count in enumerate(counts):
            self._gauge.labels(*key, kind, number).set(count)
