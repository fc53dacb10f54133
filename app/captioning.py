"""Captions that are written: for a request, and in the background for images that enter the library.

A caption of the background is a sentence of the library, so that searches find it. Its metadata say
`origin: captioner`, and name each image that it describes by a key of its own, `caption_of_ID: true`, by which it can
be listed. Images that get the same caption share the sentence; it goes with the last of them. A sentence that somebody
had stored before keeps its metadata and only gets the link, so it stays.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np

from app.cache import Vector
from app.problems import Problem
from app.results import CaptionOptions, GeneratedCaption
from index import Library, LibraryError, NewSentence, RecordNotFound, SentenceRecord
from model.captioner import Captioner, Vectors
from model.errors import CaptionerMissingError
from model.space import JointSpace

logger = logging.getLogger(__name__)

ORIGIN = "origin"
CAPTIONER = "captioner"
MAX_LINKS = 60
"""Images that share one sentence at most: metadata have room for so many keys."""
BATCH = 16
"""Images that are captioned at once in the background."""


def link(image_id: str) -> str:
    """The metadata key that says that a sentence is a caption of this image."""
    return f"caption_of_{image_id}"


def load_captioner(space: JointSpace) -> Captioner | None:
    """The captioner of a loaded bundle; None if it has none."""
    try:
        return Captioner(space)
    except CaptionerMissingError:
        return None


def missing(space: JointSpace) -> Problem:
    """The problem of a bundle that cannot write."""
    return Problem(
        "captioner_missing",
        f"The bundle {space.name} has no captioner, so captions cannot be generated. "
        "Use mode=retrieve, which picks the nearest sentences of the library, or add a captioner to the bundle "
        "with `visem train captioner`.",
    )


def generated(captioner: Captioner, vectors: Vectors, options: CaptionOptions) -> list[list[GeneratedCaption]]:
    """Captions of image vectors (m, D), best first. StructureError, EmptyTextError."""
    answers = captioner.caption(
        vectors, options.n, strategy=options.strategy, structure=options.structure, seed=options.seed or 0
    )
    return [
        [
            GeneratedCaption(one.text, one.score, one.similarity, one.fluency, one.structure, one.confidence)
            for one in captions
        ]
        for captions in answers
    ]


class CaptionKeeper:
    """Writes captions of new images in a thread of its own, and removes those of deleted ones."""

    def __init__(self, library: Library, captioner: Captioner | None) -> None:
        self._library = library
        self._captioner = captioner
        self._waiting: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # links are read, changed and written back
        self._idle = threading.Condition()
        self._pending = 0
        self._closing = False
        self._thread: threading.Thread | None = None

    def add(self, image_id: str, count: int) -> None:
        """Have `count` captions written for a stored image, soon."""
        with self._idle:
            if self._closing or self._captioner is None:
                return
            self._pending += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="visem-captions", daemon=True)
                self._thread.start()
        self._waiting.put((image_id, count))

    def wait(self, report: Callable[[int], None] = lambda pending: None) -> None:
        """Return when every image that was added has its captions; `report` is told how many wait."""
        with self._idle:
            while self._pending and not self._closing:
                report(self._pending)
                self._idle.wait(timeout=0.5)

    def close(self) -> None:
        """Stop after the batch at work; what still waits is dropped. Idempotent."""
        with self._idle:
            self._closing = True
            self._idle.notify_all()
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    def captions_of(self, image_id: str) -> list[SentenceRecord]:
        """The stored captions of an image, in the order of their adding."""
        page = self._library.list_sentences(limit=50, filters={link(image_id): "true"})
        return list(reversed(page.items))

    def forget(self, image_id: str) -> None:
        """Remove the captions of an image that is gone."""
        with self._lock:
            for record in self.captions_of(image_id):
                metadata = {key: value for key, value in record.metadata.items() if key != link(image_id)}
                try:
                    if metadata == {ORIGIN: CAPTIONER}:
                        self._library.delete_sentence(record.id)
                    else:
                        self._library.update_sentence(record.id, metadata)
                except RecordNotFound:  # somebody has deleted the sentence
                    continue

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < BATCH and not self._waiting.empty():
                if (another := self._waiting.get()) is None:
                    self._waiting.put(None)
                    break
                batch.append(another)
            if self._closing:
                return
            try:
                self._caption(batch)
            except Exception:
                logger.exception("%d images got no captions", len(batch))
            with self._idle:
                self._pending -= len(batch)
                self._idle.notify_all()

    def _caption(self, batch: Sequence[tuple[str, int]]) -> None:
        vectors: list[Vector] = []
        there: list[tuple[str, int]] = []
        for image_id, count in batch:
            try:
                vectors.append(self._library.image_vectors([image_id])[0])
            except RecordNotFound:  # deleted in the meantime
                continue
            there.append((image_id, count))
        if not there or self._captioner is None:
            return
        written = self._captioner.caption(np.stack(vectors), max(count for _, count in there))
        for (image_id, count), captions in zip(there, written, strict=True):
            texts = [caption.text for caption in captions[:count]]
            self._store(image_id, texts)

    def _store(self, image_id: str, texts: Sequence[str]) -> None:
        if not texts or self._captioner is None:
            return
        vectors = self._captioner.space.embed_texts(texts)
        with self._lock:
            metadata = {ORIGIN: CAPTIONER, link(image_id): True}
            news = [NewSentence(text, vector, metadata) for text, vector in zip(texts, vectors, strict=True)]
            for added in self._library.add_sentences(news):
                record = added.record
                if not added.created and len(record.metadata) < MAX_LINKS:
                    try:
                        self._library.update_sentence(record.id, {**record.metadata, link(image_id): True})
                    except LibraryError:  # deleted in the meantime, or its metadata are full
                        continue
        try:
            self._library.get_image(image_id)
        except RecordNotFound:  # deleted while its captions were written
            self.forget(image_id)
