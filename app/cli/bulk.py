"""`visem add --ray`: many images, embedded by workers on a cluster of Ray."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.cli.addition_report import AdditionReport
from app.cli.failures import FAILED, USAGE, CommandError
from app.cli.interruption import Ending, Interruption, batch
from app.cli.json_stream import JsonStream
from app.cli.output import own_output
from app.cli.progress import Reporter
from app.version import VERSION
from model.errors import how_to_install

if TYPE_CHECKING:
    from app.ingest.bulk.driver import BulkIngestion
    from app.ingest.bulk.work_units import Piece
    from app.ingest.bulk.worker import Outcome, WorkerConfig
    from app.service import Service

_WORKER_SETTINGS = (
    "bundle",
    "device",
    "max_image_bytes",
    "max_pixels",
    "batch_size",
    "decode_threads",
    "memory_budget",
)
_PATIENCE = 30.0
"""Seconds without a worker after which people are told what is waited for."""


@dataclass(frozen=True)
class BulkOptions:
    """What the command line says about the run."""

    address: str
    workers: int | None
    column: str | None


def require_ray() -> None:
    """Refuse, before anything is opened, where the extra is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in ("ray", "pyarrow", "boto3") if find_spec(name) is None]:
        raise CommandError(
            "extra_missing",
            f"--ray needs what is not installed: {', '.join(missing)}. {how_to_install('ray')}",
            USAGE,
        )


class BulkAddition:
    """One run on a cluster: counts what becomes of the files, and reports it as it goes."""

    def __init__(
        self,
        service: Service,
        sources: Sequence[str],
        options: BulkOptions,
        reporter: Reporter,
        stream: Callable[[], JsonStream | None],
    ) -> None:
        """Look at the sources and connect to the cluster, and only then begin the output (`stream`). CommandError."""
        from app.ingest.bulk.cluster import Cluster
        from app.ingest.bulk.errors import BulkError
        from app.ingest.bulk.listing import Listing

        self.interrupted = False
        self._service = service
        self._reporter = reporter
        settings = service.settings
        try:
            self._listing = Listing(
                sources,
                options.column,
                without=settings.library,
                without_url=settings.content,
                on_error=lambda folder, reason: self._report.reject(folder, "folder_unreadable", reason),
                on_left_out=lambda folder, reason: self._report.leave_out(folder, reason),
            )
            self._cluster = Cluster(options.address, options.workers, on_gpu=settings.device.startswith("cuda"))
        except BulkError as error:
            raise CommandError(error.code, str(error), USAGE if error.code == "invalid_request" else FAILED) from error
        self._report = AdditionReport(reporter, stream())
        self._skipped: Counter[str] = Counter()

    @property
    def failed(self) -> bool:
        """Whether a file was rejected, or there were files or folders, but no picture among them."""
        return self._report.failed(self._skipped)

    def run(self, metadata: dict[str, Any]) -> None:
        """Add everything. The first Ctrl-C or SIGTERM ends it when what was read is stored; the library stays whole."""
        from app.ingest.bulk.driver import BulkIngestion

        config = self._config(metadata)
        bulk = BulkIngestion(self._service.library, self._cluster, config)

        def end(ending: Ending) -> None:
            self.interrupted = ending.interrupted
            self._skipped = self._listing.skipped + bulk.skipped
            self._report.summarise(ending, self._skipped)

        with batch(end) as interruption, own_output(), closing(bulk.run(self._pieces(interruption))) as outcomes:
            self._follow(bulk, outcomes, interruption)

    def _config(self, metadata: dict[str, Any]) -> WorkerConfig:
        from app.ingest.bulk.worker import WorkerConfig

        settings = self._service.settings
        chosen = {name: getattr(settings, name) for name in _WORKER_SETTINGS}
        if settings.bundle is not None:
            chosen["bundle"] = settings.bundle.absolute()
        return WorkerConfig(
            version=VERSION,
            space_id=self._service.space.id,
            settings=chosen,
            folders=self._listing.folders,
            metadata=metadata,
            captions=self._service.captions_owed(),
        )

    def _pieces(self, interruption: Interruption) -> Iterator[Piece]:
        for piece in self._listing:
            if interruption.requested:
                return
            yield piece

    def _follow(self, bulk: BulkIngestion, outcomes: Iterable[Outcome | None], interruption: Interruption) -> None:
        told_at = time.monotonic() + _PATIENCE
        repeated = 0
        for outcome in outcomes:
            if interruption.requested:
                bulk.stop()
            if bulk.repeated > repeated:
                repeated = bulk.repeated
                self._reporter.note("A worker died. What it was at is done again.")
            if outcome is None:
                if not bulk.started and time.monotonic() > told_at:
                    self._reporter.note("No worker has started yet: the cluster has no free core, or is starting one.")
                    told_at = math.inf
                continue
            self._report.record(outcome.path, outcome.result)
            if outcome.result.status == "created" and self._service.settings.caption_images:
                self._service.captions_kept.wake()
            done, total = self._report.counts.total(), self._listing.images
            self._reporter.update(done, None if total is None else max(total, done))
