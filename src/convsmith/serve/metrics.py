"""Numbers of a server, for Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from convsmith.errors import ConvsmithError
from convsmith.serve.asked import Asked
from convsmith.serve.drift import LABELS, Drift
from convsmith.serve.request_record import RequestRecord
from convsmith.serve.service import Service
from convsmith.system import resident_memory

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the folder where processes that serve together put their numbers."""

_SECOND = 1.0  # between two refreshments of what takes longer
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_DISTANCES = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.5)
_BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)


class Families:
    """The numbers of one process.

    Args:
        registry: where they are kept.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"convsmith_{name}", text, labels, registry=registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"convsmith_{name}_seconds", text, labels, buckets=SECONDS, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"convsmith_{name}", text, registry=registry, multiprocess_mode="livesum")

        self.registry = registry
        self.requests = counter("requests", "HTTP requests answered.", "model", "route", "status")
        self.images = counter("images", "Images that models were asked about.", "model", "status")
        self.samples = counter("samples", "Images kept to be labelled anew, or lost on the way.", "outcome")
        self.request_seconds = seconds("request", "From a request's headers to the end of its answer.", "model")
        self.stage_seconds = seconds("stage", "An image's queue, preprocess, inference and answer.", "model", "stage")
        self.batch = Histogram(
            "convsmith_batch_size",
            "Images that the model ran on at once, of each image.",
            ["model"],
            buckets=_BATCHES,
            registry=registry,
        )
        self.in_flight = gauge("requests_in_flight", "HTTP requests that are being answered.")
        self.active = gauge("images_in_flight", "Images received that wait or run.")
        self.uploads = gauge("uploads", "Bodies that are being received.")
        self.window = Gauge(
            "convsmith_drift_window",
            "The last images of a model, in the bins of its reference.",
            [*LABELS, "bin"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.distance = Histogram(
            "convsmith_distance",
            "How far images are from the training images, as `distance` says.",
            ["model"],
            buckets=_DISTANCES,
            registry=registry,
        )
        self.memory = Gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            registry=registry if FOLDER in os.environ else None,  # else the collector of the process has it
            multiprocess_mode="liveall",
        )


@cache
def _shared() -> Families:
    """The numbers of this process where several serve together: its applications write into one file."""
    return Families(CollectorRegistry())


class Metrics:
    """All numbers of a server, each application by itself.

    Where `FOLDER` names a folder when the process starts, the numbers of all its processes are shown together.

    Raises:
        ConvsmithError: that folder is not there.
    """

    def __init__(self, service: Service) -> None:
        self._service, self._together = service, FOLDER in os.environ
        if self._together and not Path(os.environ[FOLDER]).is_dir():
            why = f"{os.environ[FOLDER]} is not one; processes that serve together put their numbers there"
            raise ConvsmithError(f"{FOLDER} names no folder", why, "Make it, or unset the variable.")
        self.families = _shared() if self._together else Families(CollectorRegistry())
        self._shown = CollectorRegistry() if self._together else self.families.registry
        if self._together:
            merged = MultiProcessCollector(self._shown).collect  # type: ignore[no-untyped-call]
        else:
            merged = self.families.window.collect
            ProcessCollector(registry=self._shown)
        self._drift, self._drift_is_shown = Drift(service, self.families.window, merged), 0.0
        self._shown.register(self._drift)
        self._shown.register(_Models(service))
        service.watchers.append(self._count_image)

    def show(self, accept: str) -> tuple[bytes, str]:
        """All numbers in a form that an Accept header likes, and its media type."""
        self._drift_is_shown = 0.0
        self._refresh()
        encode, kind = choose_encoder(accept)
        return encode(self._shown), kind

    def count_sample(self, outcome: str) -> None:
        """Count a sample that was `written` or `lost`."""
        self.families.samples.labels(outcome).inc()

    def count_request(self, record: RequestRecord) -> None:
        """Count a request that has ended."""
        model = record.model.name if record.model else ""
        self.families.requests.labels(model, record.route, record.status).inc()
        self.families.request_seconds.labels(model).observe(record.seconds)
        if self._together:  # another process may be asked
            self._refresh()

    def _count_image(self, asked: Asked, _: Any) -> None:
        model = asked.model.name
        self.families.images.labels(model, asked.status or 0).inc()
        for stage, seconds in asked.seconds.items():
            self.families.stage_seconds.labels(model, stage).observe(seconds)
        if "inference" in asked.seconds:
            self.families.batch.labels(model).observe(asked.batch)
        if asked.answer and asked.answer.distance:
            self.families.distance.labels(model).observe(asked.answer.distance.value)

    def _refresh(self) -> None:
        self.families.active.set(self._service.active)
        self.families.uploads.set(len(self._service.uploads))
        if self._together:
            self.families.memory.set(resident_memory())
        if time.monotonic() > self._drift_is_shown + _SECOND:
            self._drift.refresh()
            self._drift_is_shown = time.monotonic()


class _Models(Collector):
    """The models of a server as they are when they are asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Version, place and state of each model, and convsmith's own version."""
        yield InfoMetricFamily("convsmith_build", "The version of convsmith.", {"version": version("convsmith")})
        names = "model", "version"
        loaded = GaugeMetricFamily("convsmith_model_loaded", "1 where a model answers.", labels=names)
        info = InfoMetricFamily("convsmith_model", "What a model runs on, and its bundle's checksum.", labels=names)
        for model in list(self._service.models):
            loaded.add_metric((model.name, model.version), float(model.bundle is not None))
            if model.bundle and model.bundle.place:
                facts = {**vars(model.bundle.place), "checksum": model.bundle.manifest.checksum}
                info.add_metric((model.name, model.version), facts)
        yield loaded
        yield info
