"""Captions as sentences of the library: storing them, and removing them with their images.

A caption of the background is a sentence of the library, so that searches find it. Its metadata say
`origin: captioner`, and name each image that it describes by a key of its own, `caption_of_ID: true`, by which it can
be listed. Images that get the same caption share the sentence; it goes with the last of them. A sentence that somebody
stored, before or after, has no origin; it only has the links, so it stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.marks import Marks
from index import Added, Library, LibraryError, NewSentence, RecordNotFound, SentenceRecord

logger = logging.getLogger(__name__)

ORIGIN = "origin"
CAPTIONER = "captioner"
MAX_LINKS = 60
"""Images that share one sentence at most: metadata have room for so many keys."""


def link(image_id: str) -> str:
    """The metadata key that says that a sentence is a caption of this image."""
    return f"caption_of_{image_id}"


class StoredCaptions:
    """The captions among the sentences of a library. Thread-safe."""

    def __init__(self, library: Library, forgetting: Path) -> None:
        """`forgetting` is the folder for the marks of images whose captions are to go."""
        self._library = library
        self._lock = threading.Lock()  # links are read, changed and written back
        # Images that are being deleted, until their captions are gone, too: survives failures and kills.
        self._forgetting = Marks(forgetting)

    def of(self, image_id: str) -> list[SentenceRecord]:
        """The stored captions of an image, in the order of their adding."""
        page = self._library.list_sentences(limit=50, filters={link(image_id): "true"})
        return list(reversed(page.items))

    def add(self, image_id: str, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store captions of an image with their vectors (n, D)."""
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
            if not self._exists(image_id):  # deleted while its captions were written
                self._forget(image_id)

    def add_own(self, sentences: Sequence[NewSentence]) -> list[Added[SentenceRecord]]:
        """Store somebody's own sentences, as the library does; one that is there as a caption becomes their own."""
        with self._lock:
            added = self._library.add_sentences(sentences)
            for at, (record, created) in enumerate((one.record, one.created) for one in added):
                if created or record.metadata.get(ORIGIN) != CAPTIONER:
                    continue
                metadata = {key: value for key, value in record.metadata.items() if key != ORIGIN}
                try:
                    added[at] = Added(self._library.update_sentence(record.id, metadata), created=False)
                except RecordNotFound:  # another process has just deleted the caption
                    added[at] = self._library.add_sentences([sentences[at]])[0]
            return added

    def delete_image(self, image_id: str) -> None:
        """Delete an image and its captions; RecordNotFound.

        Captions that cannot be deleted now go with the next deletion, or when the library is opened again.
        """
        self._library.get_image(image_id)  # so that only what is an id becomes the name of a mark
        self._forgetting.put(image_id)
        self._library.delete_image(image_id)
        self.finish()

    def finish(self) -> None:
        """Remove the captions of all images whose deletion was begun, by any process, and that are gone."""
        with self._lock:
            for image_id in self._forgetting:
                try:
                    if not self._exists(image_id):  # else its deletion is under way, or failed
                        self._forget(image_id)
                        self._forgetting.take(image_id)
                except LibraryError as error:
                    logger.warning("Captions of the deleted image %s are left for later: %s", image_id, error)

    def _exists(self, image_id: str) -> bool:
        try:
            self._library.get_image(image_id)
        except RecordNotFound:
            return False
        return True

    def _forget(self, image_id: str) -> None:
        for record in self.of(image_id):
            metadata = {key: value for key, value in record.metadata.items() if key != link(image_id)}
            try:
                if metadata == {ORIGIN: CAPTIONER}:
                    self._library.delete_sentence(record.id)
                else:
                    self._library.update_sentence(record.id, metadata)
            except RecordNotFound:  # somebody has deleted the sentence
                continue
