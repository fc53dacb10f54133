"""Captions that are written in the background for images that enter the library."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from app.embedding.cache import Vector
from app.embedding.embedder import Embedder
from app.embedding.fairness import ShuttingDown
from app.results import CaptionOptions
from index import Library, NewCaption, OwedCaptions, RecordNotFound

logger = logging.getLogger(__name__)

BATCH = 16
"""Images that are captioned at once in the background."""

LEASE = 120.0
"""Seconds after which a batch that was begun, and not finished, is anybody's again."""

POLL = 30.0
"""Seconds between looks for what other processes left undone."""


class CaptionKeeper:
    """Writes, in a thread of its own, the captions that the library owes to images.

    What is owed is in the catalog, written with the image: whoever is stopped or killed, others go on. Several
    processes share the work.
    """

    def __init__(self, library: Library, embedder: Embedder) -> None:
        self._library = library
        self._embedder = embedder
        self._changed = threading.Condition()
        self._wanted = False
        self._working = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Look for owed captions now and from time to time; without a captioner this does nothing."""
        with self._changed:
            if self._closing or not self._embedder.can_caption:
                return
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="visem-captions", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def wait(self, report: Callable[[int], None] = lambda owed: None) -> None:
        """Return when this process has no more to do; `report` gets the number of images owed captions."""
        with self._changed:
            while (self._wanted or self._working) and not self._closing:
                report(self._library.captions.owed())
                self._changed.wait(timeout=0.5)

    def close(self) -> None:
        """Stop after the batch at work, or at once if the embedder is closed; what is owed stays so. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._working = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wanted or self._closing, timeout=POLL)
                if self._closing:
                    return
                self._wanted, self._working = False, True
            try:
                while not self._closing and (batch := self._library.captions.claim(BATCH, LEASE)):
                    self._caption(batch)
            except ShuttingDown:
                return
            except Exception:
                logger.exception("captions could not be written; they stay owed")

    def _caption(self, batch: Sequence[OwedCaptions]) -> None:
        vectors: list[Vector] = []
        there: list[OwedCaptions] = []
        for owed in batch:
            with suppress(RecordNotFound):  # deleted in the meantime
                vectors.append(self._library.image_vectors([owed.image_id])[0])
                there.append(owed)
        if not there:
            return
        options = CaptionOptions(max(owed.count for owed in there), "generate")
        written = self._embedder.in_background("captions", [(vector, options) for vector in vectors])
        for owed, captions in zip(there, written, strict=True):
            chosen = captions[: owed.count]
            texts = [caption.text for caption in chosen]
            embedded = self._embedder.in_background("texts", texts)
            news = [
                NewCaption(caption.text, vector, caption.score)
                for caption, vector in zip(chosen, embedded, strict=True)
            ]
            with suppress(RecordNotFound):
                self._library.captions.add(owed.image_id, news)
