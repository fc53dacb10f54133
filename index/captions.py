"""The captions of a library: which sentences describe an image, and which images are owed captions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from index.drafts import caption_draft
from index.interfaces import Catalog
from index.locks import Gate
from index.types import CaptionOrigin, CaptionRecord, NewCaption, OwedCaptions, Space


class LibraryCaptions:
    """The part of an open library that knows its captions: `Library.captions`."""

    def __init__(self, catalog: Catalog, gate: Gate, space: Callable[[], Space]) -> None:
        """`space` says of which space the library's vectors are now."""
        self._catalog = catalog
        self._gate = gate
        self._space = space

    def of(self, image_id: str) -> list[CaptionRecord]:
        """Return the captions of an image, people's own first, each kind in its order; RecordNotFound."""
        with self._gate.enter():
            return self._catalog.captions.of(image_id)

    def add(self, image_id: str, captions: Sequence[NewCaption]) -> list[CaptionRecord]:
        """Add what the captioner wrote for an image, and return all its captions; it is owed none afterwards.

        A sentence that is there already is not changed. RecordNotFound, InvalidText, InvalidVector, SpaceMismatch.
        """
        with self._gate.enter():
            space = self._space()
            drafts = [caption_draft(caption, "captioner", space.dimension) for caption in captions]
            return self._catalog.captions.add(image_id, drafts, space)

    def set(self, image_id: str, captions: Sequence[NewCaption]) -> list[CaptionRecord]:
        """Make these, in their order, people's own captions of an image, and return all its captions.

        Idempotent. Those that are no longer among them stay as sentences. One that the captioner had written is
        people's own from then on. RecordNotFound, InvalidText, InvalidVector, SpaceMismatch.
        """
        with self._gate.enter():
            space = self._space()
            drafts = [caption_draft(caption, "user", space.dimension) for caption in captions]
            return self._catalog.captions.set(image_id, drafts, space)

    def delete(self, image_id: str, origin: CaptionOrigin | None = None) -> None:
        """Delete the captions of an image, or those of one origin; RecordNotFound.

        Sentences that the captioner wrote go with the last image that they are captions of; people's own stay.
        """
        with self._gate.enter():
            self._catalog.captions.delete(image_id, origin)

    def owed(self) -> int:
        """Return how many images are owed captions of the captioner that are not given up."""
        with self._gate.enter():
            return self._catalog.captions.owed()

    def given_up(self) -> int:
        """Return how many images get none because MAX_CAPTION_ATTEMPTS attempts failed."""
        with self._gate.enter():
            return self._catalog.captions.given_up()

    def claim(self, limit: int, seconds: float) -> list[OwedCaptions]:
        """Return up to `limit` images that are owed captions, to attempt; nobody else gets them for some seconds."""
        with self._gate.enter():
            return self._catalog.captions.claim(limit, seconds)

    def release(self, image_ids: Sequence[str], seconds: float, *, counted: bool) -> None:
        """End an attempt that brought no captions: nobody gets these images for some seconds.

        `counted`: whether it was their fault, so that the attempt counts.
        """
        with self._gate.enter():
            self._catalog.captions.release(image_ids, seconds, counted=counted)

    def retry(self) -> int:
        """Forget all failed attempts, so that everything owed is attempted again now; return how many images."""
        with self._gate.enter():
            return self._catalog.captions.retry()
