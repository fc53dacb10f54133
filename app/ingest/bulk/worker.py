"""A worker on a node of the cluster: a joint space, and the ordinary ingestion into the library of the driver."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.embedding.embedder import Embedder
from app.ingest.bulk.errors import BulkError
from app.ingest.bulk.reading import PieceReader
from app.ingest.bulk.rpc import ask
from app.ingest.bulk.work_units import Piece
from app.ingest.pipeline import IncomingFile, Ingestion, IngestResult
from app.settings import Settings
from app.version import VERSION
from index import Added, FileInPlace, ImageRecord, NewImage
from model import threads
from model.space import JointSpace

REPORT_SECONDS = 1.0
REPORT_RESULTS = 16


@dataclass(frozen=True)
class WorkerConfig:
    """What all workers of a run are told. No address and no password of an engine is among it."""

    version: str
    space_id: str
    settings: Mapping[str, Any]
    """Those settings of the driver that decide on how an image is read and embedded."""
    folders: tuple[str, ...]
    """Folders and files that every node has to see."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    captions: int = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a file: what it is called for people, and the result of the ingestion."""

    path: str
    result: IngestResult


class DriverDestination:
    """The driver's library, as an ingestion sees it."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk

    def known(self, contents: Mapping[str, bool]) -> dict[str, ImageRecord]:
        """As `Destination.known`."""
        known: dict[str, ImageRecord] = ask(self._desk, "known", dict(contents))
        return known

    def add(self, images: Sequence[NewImage], found: Sequence[tuple[FileInPlace, str]]) -> list[Added[ImageRecord]]:
        """As `Destination.add`. The images go from this node to the driver's, not through the desk."""
        import ray

        if found:
            raise ValueError("folders in place have no bulk ingestion")
        added: list[Added[ImageRecord]] = ask(self._desk, "add", [ray.put(list(images))])
        return added


class Worker:
    """Does pieces of work, one at a time: the class that Ray Data runs."""

    def __init__(self, desk: Any, config: WorkerConfig) -> None:
        """Load the model. If this node cannot do the work, the driver is told why, and the run ends."""
        self._desk = desk
        self._config = config
        self._stopping = False
        try:
            self._embedder, self._settings = self._open()
        except Exception as error:
            node = os.uname().nodename
            refused = BulkError(str(getattr(error, "code", "ray_failed")), f"The worker on {node}: {error}")
            ask(self._desk, "refuse", refused)
            raise refused from error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the pieces of these numbers; the results go to the driver at once."""
        for number in batch["piece"].tolist():
            if not self._stopping:
                self._do(number)
        return batch

    def _open(self) -> tuple[Embedder, Settings]:
        config = self._config
        if config.version != VERSION:
            raise BulkError("ray_failed", f"this node has Visem {VERSION}, and the command is of {config.version}.")
        settings = Settings(**config.settings)
        if cores := _cores():
            os.environ.setdefault(threads.VARIABLE, str(cores))
        for folder in config.folders:
            if not Path(folder).exists():
                raise BulkError("source_away", f"{folder} is not there. Every node has to see it under this path.")
        space = JointSpace.load(settings.bundle, device=settings.device)
        if space.id != config.space_id:
            raise BulkError("space_mismatch", "this node has another model bundle than the command.")
        return Embedder(space, settings), settings

    def _do(self, number: int) -> None:
        begun: tuple[Piece, int] | None = ask(self._desk, "begin", number)
        if begun is None:
            return
        piece, reported = begun
        reader = PieceReader(piece, self._settings.max_image_bytes)
        paths: deque[str] = deque()

        def files() -> Iterator[IncomingFile]:
            with closing(iter(reader)) as found:  # type: ignore[type-var]  # a generator
                for path, file in found:
                    if self._stopping:
                        return
                    paths.append(path)
                    yield file

        ingestion = Ingestion(
            DriverDestination(self._desk),
            self._embedder,
            self._settings.batch_size,
            self._config.metadata,
            self._config.captions,
        )
        unreported: list[Outcome] = []
        last = time.monotonic()
        with self._embedder.admit("bulk") as place:
            for position, result in enumerate(ingestion.run(files(), place)):
                path = paths.popleft()
                if position < reported:  # by one that died
                    continue
                unreported.append(Outcome(path, result))
                if len(unreported) >= REPORT_RESULTS or time.monotonic() - last > REPORT_SECONDS:
                    reported = self._report(number, reported, unreported)
                    last = time.monotonic()
        self._report(number, reported, unreported)
        ask(self._desk, "end", number, reader.skipped, self._stopping)

    def _report(self, number: int, first: int, outcomes: list[Outcome]) -> int:
        """Tell the driver what became of files, the `first` of the piece and those after it; how many are told now."""
        self._stopping = ask(self._desk, "report", number, first, outcomes)
        told = first + len(outcomes)
        outcomes.clear()
        return told


def _cores() -> int:
    """How many cores Ray has given to this worker; 0 if it has none of its own."""
    import ray

    context: Any = ray.get_runtime_context()
    return int(context.get_assigned_resources().get("CPU", 0))
