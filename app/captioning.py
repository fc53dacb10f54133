"""Captions that are written: for a request, and in the background for images that enter the library."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np

from app.cache import Vector
from app.problems import Problem
from app.results import CaptionOptions, GeneratedCaption
from app.stored_captions import StoredCaptions
from index import Library, RecordNotFound
from model.captioner import Captioner, Vectors
from model.errors import CaptionerMissingError
from model.space import JointSpace

logger = logging.getLogger(__name__)

BATCH = 16
"""Images that are captioned at once in the background."""


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
    """Writes captions of new images in a thread of its own."""

    def __init__(self, library: Library, stored: StoredCaptions, captioner: Captioner | None) -> None:
        self._library = library
        self._stored = stored
        self._captioner = captioner
        self._waiting: queue.SimpleQueue[tuple[str, int] | None] = queue.SimpleQueue()
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
            if texts:
                self._stored.add(image_id, texts, self._captioner.space.embed_texts(texts))
