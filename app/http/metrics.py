"""Figures for Prometheus. Each application has its own registry, so that several may live in one process.

Where several workers serve one address, any of them answers a scrape, with what all of them have counted: then
prometheus_client keeps its figures in files that they share.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.embedding.batcher import Lane
from app.http.figure_files import use_allocated_files
from index import EngineState, LibraryError, LibraryStats, Target

logger = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LATENCIES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class Watched(Protocol):
    """What a service tells of itself."""

    def stats(self) -> LibraryStats:
        """What the library holds."""

    def engines(self) -> Sequence[EngineState]:
        """How the engines on other machines do."""

    def lag(self) -> Mapping[Target, int]:
        """How much the engine of the vectors lacks, by target."""

    def admitted(self) -> Mapping[Lane, int]:
        """How many requests are at work or waiting, by lane."""


class Metrics:
    """Requests by route template, batches, queues, engines, and the size of the library, which is read at each scrape.

    Thread-safe.
    """

    def __init__(self, shared: Path | None = None) -> None:
        """`shared`: the folder of all workers, which PROMETHEUS_MULTIPROC_DIR named when this process started."""
        self._shared = shared
        self._missed = False
        if shared is not None:
            use_allocated_files()
        self._lock = threading.Lock()
        self._service: Watched | None = None
        self._told: dict[str, EngineState] = {}
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "visem_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._latency = Histogram(
            "visem_http_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("method", "route"),
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._batch_items = Histogram(
            "visem_batch_items",
            "Images or texts embedded in one batch.",
            ("kind",),
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=self.registry,
        )
        self._batch_seconds = Histogram(
            "visem_batch_seconds",
            "Time to embed one batch.",
            ("kind",),
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._admitted = Gauge(
            "visem_requests_admitted",
            "Requests at work or waiting.",
            ("lane",),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._away = Gauge(
            "visem_engine_away",
            "1 while an engine is not asked, because it did not answer.",
            ("engine",),
            registry=self.registry,
            multiprocess_mode="livemax",
        )
        self._failures = Counter(
            "visem_engine_failures", "Calls that an engine did not answer.", ("engine",), registry=self.registry
        )
        self._retries = Counter(
            "visem_engine_retries", "Attempts after the first of a call.", ("engine",), registry=self.registry
        )

    def observe_request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count a request. Unknown methods and paths share a label, or anyone could make up more."""
        method = method if method in _METHODS else "other"
        route = route or "unmatched"
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def observe_batch(self, kind: str, size: int, seconds: float) -> None:
        """Count a batch of the batcher."""
        self._batch_items.labels(kind).observe(size)
        self._batch_seconds.labels(kind).observe(seconds)

    def watch(self, service: Watched) -> None:
        """Report the library of a service, its engines and its queues from now on."""
        self._service = service
        self.registry.register(_Library(service))

    def sample(self) -> None:
        """Take over how engines and queues of this process do; whoever shares figures does that all the time."""
        if self._service is None:
            return
        with self._lock:
            for lane, count in self._service.admitted().items():
                self._admitted.labels(lane).set(count)
            for state in self._service.engines():
                told = self._told.get(state.part)
                self._away.labels(state.part).set(state.away)
                self._failures.labels(state.part).inc(state.failures - (told.failures if told else 0))
                self._retries.labels(state.part).inc(state.retries - (told.retries if told else 0))
                self._told[state.part] = state

    def render(self) -> bytes:
        """All figures in the Prometheus text format."""
        self.sample()
        if self._shared is not None:
            try:
                return self._of_all(self._shared)
            except OSError as error:
                if not self._missed:
                    logger.warning("figures are those of one worker, as others cannot be read: %s", error)
                self._missed = True
        return generate_latest(self.registry)

    def _of_all(self, shared: Path) -> bytes:
        shared.stat()
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(shared))
        if self._service is not None:
            registry.register(_Library(self._service))
        return generate_latest(registry)


class _Library(Collector):
    """What is read at each scrape, the same by all workers. While the catalog is away, what is in it is left out."""

    def __init__(self, service: Watched) -> None:
        self._service = service

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with suppress(LibraryError):
            yield from _library(self._service.stats())
        behind = GaugeMetricFamily(
            "visem_vectors_behind", "Additions and deletions that the engine of the vectors lacks.", labels=("target",)
        )
        for target, count in self._service.lag().items():
            behind.add_metric([target], count)
        yield behind


def _library(stats: LibraryStats) -> Iterator[Metric]:
    items = GaugeMetricFamily("visem_library_items", "Records in the library.", labels=("target",))
    items.add_metric(["images"], stats.images)
    items.add_metric(["sentences"], stats.sentences)
    yield items
    size = GaugeMetricFamily("visem_library_bytes", "Disk space of the library.", labels=("part",))
    size.add_metric(["content"], stats.content_bytes)
    size.add_metric(["catalog"], stats.catalog_bytes)
    yield size
    yield GaugeMetricFamily("visem_captions_owed", "Images that are to get captions.", value=stats.captions_owed)
