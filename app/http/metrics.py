"""Figures for Prometheus. Each application has its own registry, so that several may live in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from index import LibraryStats

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LATENCIES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


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

    def watch_library(self, stats: Callable[[], LibraryStats]) -> None:
        """Report the size of a library from now on; `stats` is called at each scrape."""
        self.registry.register(_LibrarySize(stats))

    def render(self) -> bytes:
        """All figures in the Prometheus text format."""
        return generate_latest(self.registry)


class _LibrarySize(Collector):
    def __init__(self, stats: Callable[[], LibraryStats]) -> None:
        self._stats = stats

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        items = GaugeMetricFamily("visem_library_items", "Records in the library.", labels=("target",))
        items.add_metric(["images"], stats.images)
        items.add_metric(["sentences"], stats.sentences)
        yield items
        size = GaugeMetricFamily("visem_library_bytes", "Disk space of the library.", labels=("part",))
        size.add_metric(["content"], stats.content_bytes)
        size.add_metric(["catalog"], stats.catalog_bytes)
        yield size
