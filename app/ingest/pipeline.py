"""Taking photographs in: a pipeline from bytes to records which keeps both cores busy.

Chunks of files pass three stages. While the newest chunk is decoded (a small thread pool), the one before it
is embedded (the batcher's thread), and the oldest is written to the library (the caller's thread). Results
come out in the order of the files, each as soon as it is durable. The bytes of a chunk count against a budget that
all ingestions share; one that finds no room finishes what it has before it waits. Asked to stop, it stores what is
decoded or being decoded, and drops the rest.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.embedding.batcher import Place
from app.embedding.embedder import Embedder
from app.embedding.memory_budget import Chunk, FilesInMemory, size_of
from app.ingest.destination import Destination
from app.ingest.facts import photo_facts
from app.ingest.names import display_name
from index import FileInPlace, ImageRecord, NewImage, keeps_thumbnail, render_thumbnail
from model import threads
from model.errors import ImageError
from model.images.types import PhotoFacts
from model.towers.interfaces import Prepared

IngestStatus = Literal["created", "duplicate", "rejected", "changed"]
"""`changed` is for files in place alone: the image that was made of the file has this content now."""


@dataclass(frozen=True)
class IncomingFile:
    """A file that someone wants stored: the name is for display only, the bytes decide everything.

    Instead of bytes there may be the reason why they were not even read. With a `file` they stay there.
    """

    name: str | None
    data: bytes | ImageError = field(repr=False)

    def read(self) -> bytes:
        """The bytes; ImageError."""
        if isinstance(self.data, ImageError):
            raise self.data
        return self.data

    file: FileInPlace | None = None


@dataclass(frozen=True)
class IngestResult:
    """What became of one file. `record` unless rejected; `code` and `reason` when rejected."""

    status: IngestStatus
    filename: str | None
    record: ImageRecord | None = None
    code: str | None = None
    reason: str | None = None


class _Picture(NamedTuple):
    """What is kept of a decoded picture, which may be large."""

    media_type: str
    width: int
    height: int
    facts: PhotoFacts
    thumbnail: bytes | None
    prepared: Prepared


@dataclass
class _Item:
    data: bytes
    filename: str | None
    sha256: str
    size: int
    file: FileInPlace | None = None
    known: ImageRecord | None = None
    preparing: Future[_Picture] | None = None
    picture: _Picture | None = None
    embedding: Future[NDArray[np.float32]] | None = None
    error: ImageError | None = None


class Ingestion:
    """One run of the pipeline. Iterate over `run`; abandoning it cancels what is not stored yet."""

    def __init__(
        self,
        destination: Destination,
        embedder: Embedder,
        chunk_size: int,
        metadata: Mapping[str, Any],
        captions: int,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """`captions`: how many each new image is owed. `stop` is called for every file: true ends `run` early."""
        self._destination = destination
        self._embedder = embedder
        self._chunk_size = chunk_size
        self._metadata = dict(metadata)
        self._captions = captions
        self._stop = stop
        self._stages: deque[Chunk[_Item]] = deque()
        self._ending = False
        self._dropping = False

    def run(self, files: Iterable[IncomingFile], place: Place) -> Iterator[IngestResult]:
        """Yield a result for each file, in order. Reads `files` lazily, two chunks ahead of the results."""
        stages = self._stages
        remaining = map(_item, files)
        incoming = FilesInMemory(self._embedder.memory[place.lane], place.client, self._embedder.limits.max_bytes)
        try:
            while not self._ending:
                if not incoming.try_room():
                    yield from self._finish(stages, place)
                    incoming.wait_for_room()
                chunk = incoming.read(remaining, self._chunk_size, lambda item: item.size)
                if not chunk.items:
                    break
                stages.append(chunk)
                self._decode(chunk.items, place)
                if len(stages) >= 2:
                    self._embed(stages[-2].items, place)
                if len(stages) >= 3:
                    yield from self._store(stages.popleft())
            yield from self._finish(stages, place)
        finally:
            incoming.close()
            for chunk in stages:
                for item in chunk.items:
                    for future in (item.preparing, item.embedding):
                        if future is not None:
                            future.cancel()
                chunk.release()

    def _finish(self, stages: deque[Chunk[_Item]], place: Place) -> Iterator[IngestResult]:
        """Store all chunks at work, of which the last is not embedded yet."""
        if stages:
            self._embed(stages[-1].items, place)
        while stages:
            yield from self._store(stages.popleft())

    def _decode(self, chunk: Sequence[_Item], place: Place) -> None:
        """Look up what the library has already, and start decoding the rest, each content once."""
        wanted = [item for item in chunk if item.error is None]
        copied: dict[str, bool] = {}
        for item in wanted:
            copied[item.sha256] = item.file is None or copied.get(item.sha256, False)
        with self._embedder.turn:
            known = self._destination.known(copied)
        started: dict[str, Future[_Picture]] = {}
        for item in wanted:
            item.known = known.get(item.sha256)
            if item.known is None:
                if item.sha256 not in started:
                    started[item.sha256] = self._embedder.decoding(place, _prepare, item.data, self._embedder)
                item.preparing = started[item.sha256]

    def _embed(self, chunk: list[_Item], place: Place) -> None:
        """Wait for the decoding, then queue all images at once, so that they share batches.

        If this is to stop, take out of the chunk the first one whose decoding had not begun, and all after it.
        """
        fresh: dict[str, Prepared] = {}
        for number, item in enumerate(chunk):
            if self._is_dropped(item):
                del chunk[number:]
                break
            if item.preparing is None:
                continue
            try:
                item.picture = item.preparing.result()
            except ImageError as error:
                item.error = error
            else:
                fresh[item.sha256] = item.picture.prepared
        futures = dict(zip(fresh, place.submit("images", fresh.values()), strict=True))
        for item in chunk:
            item.embedding = futures.get(item.sha256)

    def _is_dropped(self, item: _Item) -> bool:
        """Tell whether this is one of the files, the last ones, that are not stored since this is to stop."""
        if not self._ending and self._stop():
            self._ending = True
            for chunk in self._stages:
                for one in chunk.items:
                    if one.preparing is not None:
                        one.preparing.cancel()
        self._dropping |= item.preparing is not None and item.preparing.cancelled()
        return self._dropping

    def _store(self, chunk: Chunk[_Item]) -> Iterator[IngestResult]:
        """Add a chunk in one transaction, and report on each file."""
        try:
            vectors = {
                item.sha256: item.embedding.result()
                for item in chunk.items
                if item.picture is not None and item.embedding is not None
            }
            with self._embedder.turn:
                results = list(self._stored(chunk.items, vectors))
        finally:
            chunk.release()
        yield from results

    def _stored(self, chunk: Sequence[_Item], vectors: Mapping[str, NDArray[np.float32]]) -> Iterator[IngestResult]:
        news: list[NewImage] = []
        positions: dict[str, int] = {}
        concepts = dict(zip(vectors, self._embedder.concepts(list(vectors.values())), strict=True))
        found: list[tuple[FileInPlace, str]] = []
        for item in chunk:
            if item.file is not None and (item.known is not None or item.sha256 in positions):
                found.append((item.file, item.sha256))
            if item.picture is None or item.embedding is None or item.sha256 in positions:
                continue
            positions[item.sha256] = len(news)
            news.append(
                NewImage(
                    content=item.data,
                    sha256=item.sha256,
                    vector=vectors[item.sha256],
                    concepts=concepts[item.sha256],
                    facts=photo_facts(item.picture.facts),
                    thumbnail=item.picture.thumbnail,
                    media_type=item.picture.media_type,
                    width=item.picture.width,
                    height=item.picture.height,
                    filename=item.filename,
                    metadata=self._metadata,
                    captions=self._captions,
                    file=item.file,
                )
            )
        added = self._destination.add(news, found) if news or found else []
        reported: set[str] = set()
        for item in chunk:
            if item.error is not None:
                yield IngestResult("rejected", item.filename, code=item.error.code, reason=str(item.error))
            elif item.known is not None:
                yield IngestResult("duplicate", item.filename, item.known)
            else:
                one = added[positions[item.sha256]]
                status: IngestStatus = "changed" if one.changed else "created" if one.created else "duplicate"
                yield IngestResult("duplicate" if item.sha256 in reported else status, item.filename, one.record)
                reported.add(item.sha256)


def _item(file: IncomingFile) -> _Item:
    data, error = (b"", file.data) if isinstance(file.data, ImageError) else (file.data, None)
    sha256 = threads.aside(len(data), hashlib.sha256, data).hexdigest()
    return _Item(data, display_name(file.name), sha256, size_of(file.data), file.file, error=error)


def _prepare(data: bytes, embedder: Embedder) -> _Picture:
    decoded = embedder.load(data)
    kept = keeps_thumbnail(decoded.width, decoded.height, len(data))
    return _Picture(
        decoded.media_type,
        decoded.width,
        decoded.height,
        decoded.facts,
        render_thumbnail(decoded.image) if kept else None,
        embedder.prepare(decoded.image),
    )
