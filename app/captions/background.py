"""Captions that are written in the background for images that enter the library."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from app.embedding.cache import Vector
from app.embedding.embedder import Embedder
from app.embedding.fairness import ShuttingDown
from app.results import CaptionOptions
from index import (
    MAX_CAPTION_ATTEMPTS,
    Library,
    LibraryError,
    NewCaption,
    OwedCaptions,
    RecordNotFound,
)
from model.errors import BundleError

if TYPE_CHECKING:
    from model.captioner import Caption

logger = logging.getLogger(__name__)

BATCH = 16
"""Images that are captioned at once in the background."""

LEASE = 120.0
"""Seconds after which a batch that was begun, and not finished, is anybody's again."""

BACK_OFF = 120.0
"""Seconds until an image whose captions failed is attempted again; twice as many after each further failure."""

POLL = 30.0
"""Seconds between looks for what other processes left undone."""


class CaptionKeeper:
    """Writes, in a thread of its own, the captions that the library owes to images.

    What is owed is in the catalog, written with the image: whoever is stopped or killed, others go on. Several
    processes share the work. An image that fails rests ever longer, and is given up after MAX_CAPTION_ATTEMPTS.
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

    def stop(self) -> None:
        """Begin nothing more; what is owed stays so. Idempotent."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop after the batch at work, or at once if the embedder is stopped. Idempotent."""
        self.stop()
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
                    self._attempt(batch)
            except ShuttingDown:
                with self._changed:  # whoever waits has nothing to wait for
                    self._closing = True
                    self._changed.notify_all()
                return
            except Exception:
                logger.exception("captions could not be written or stored; they stay owed")

    def _attempt(self, batch: Sequence[OwedCaptions]) -> None:
        left = {owed.image_id: owed for owed in batch}
        try:
            vectors: dict[str, Vector] = {}
            for image_id in left:
                with suppress(RecordNotFound):  # deleted in the meantime
                    [vectors[image_id]] = self._library.image_vectors([image_id])
            options = CaptionOptions(max(owed.count for owed in batch), "generate")
            written = self._embedder.in_background("captions", [(vector, options) for vector in vectors.values()])
            for image_id, captions in zip(vectors, written, strict=True):
                self._keep(left[image_id], captions)
                del left[image_id]
        except ShuttingDown:
            self._release(left, 0.0)
            raise
        except (BundleError, LibraryError, OSError):  # not the images' fault
            self._release(left, LEASE)
            raise

    def _keep(self, owed: OwedCaptions, written: Future[list[Caption]]) -> None:
        """Store the captions of an image; if it is they that fail, count that and go on."""
        try:
            chosen = written.result()[: owed.count]
            embedded = self._embedder.in_background("texts", [caption.text for caption in chosen])
            news = [
                NewCaption(caption.text, vector.result(), caption.score)
                for caption, vector in zip(chosen, embedded, strict=True)
            ]
            self._library.captions.add(owed.image_id, news)
        except RecordNotFound:  # deleted in the meantime
            return
        except (ShuttingDown, BundleError, LibraryError, OSError):
            raise
        except Exception as error:
            self._failed(owed, error)

    def _release(self, image_ids: Iterable[str], seconds: float) -> None:
        """Give images back that nothing is to be held against."""
        with suppress(LibraryError, OSError):  # the claim ends by itself
            self._library.captions.release(list(image_ids), seconds, counted=False)

    def _failed(self, owed: OwedCaptions, error: Exception) -> None:
        last = owed.attempt >= MAX_CAPTION_ATTEMPTS
        seconds = 0.0 if last else BACK_OFF * 2 ** (owed.attempt - 1)
        self._library.captions.release([owed.image_id], seconds, counted=True)
        fields = {"image_id": owed.image_id, "attempt": owed.attempt}
        next_step = "given up until `visem captions retry`" if last else f"attempted again in {seconds:g} s"
        logger.warning("captions could not be written; %s", next_step, extra={"fields": fields}, exc_info=error)
