"""Figures for Prometheus. Each application has its own registry, so that several may live in one process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from app.embedding.batcher import Lane
from index import EngineState, LibraryError, LibraryStats, Target

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
    """Requests by route template, batches, and the size of the library, which is read at each scrape."""

    def __init__(self) -> None:
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
        """Report the library of a service, its engines and its queues from now on, at each scrape."""
        self.registry.register(_State(service))

    def render(self) -> bytes:
        """All figures in the Prometheus text format."""
        return generate_latest(self.registry)


class _State(Collector):
    """What is read at each scrape. While the catalog is away, what is in it is left out."""

    def __init__(self, service: Watched) -> None:
        self._service = service

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        with suppress(LibraryError):
            yield from _library(self._service.stats())
        yield from _engines(self._service.engines())
        behind = GaugeMetricFamily(
            "visem_vectors_behind", "Additions and deletions that the engine of the vectors lacks.", labels=("target",)
        )
        for target, count in self._service.lag().items():
            behind.add_metric([target], count)
        yield behind
        queue = GaugeMetricFamily("visem_requests_admitted", "Requests at work or waiting.", labels=("lane",))
        for lane, count in self._service.admitted().items():
            queue.add_metric([lane], count)
        yield queue


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


def _engines(states: Sequence[EngineState]) -> Iterator[Metric]:
    away = GaugeMetricFamily(
        "visem_engine_away", "1 while an engine is not asked, because it did not answer.", labels=("engine",)
    )
    failures = CounterMetricFamily("visem_engine_failures", "Calls that an engine did not answer.", labels=("engine",))
    retries = CounterMetricFamily("visem_engine_retries", "Attempts after the first of a call.", labels=("engine",))
    for state in states:
        away.add_metric([state.part], state.away)
        failures.add_metric([state.part], state.failures)
        retries.add_metric([state.part], state.retries)
    yield from (away, failures, retries)
