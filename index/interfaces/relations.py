"""What a catalog keeps about its records: captions, folders in place, facts of files, pending deletions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

from index.interfaces.collection import CaptionDraft
from index.types import (
    CaptionOrigin,
    CaptionRecord,
    FileInPlace,
    FileState,
    Filters,
    ImageRecord,
    KnownFile,
    Location,
    Month,
    OwedCaptions,
    PendingDeletion,
    PhotoFacts,
    PhotoFilter,
    RefusedFile,
    Signature,
    Source,
    SourceFile,
    SourceState,
    Space,
)


class CaptionStore(Protocol):
    """Which sentences are captions of which images. Thread-safe, each method one transaction."""

    def of(self, image_id: str) -> list[CaptionRecord]:
        """Return the captions of an image, people's own first, each kind in its order; RecordNotFound."""

    def add(self, image_id: str, drafts: Sequence[CaptionDraft], space: Space) -> list[CaptionRecord]:
        """Add captions of the captioner and return all captions; the image is no longer owed any.

        A sentence that is there already is not changed. RecordNotFound, SpaceMismatch.
        """

    def set(self, image_id: str, drafts: Sequence[CaptionDraft], space: Space) -> list[CaptionRecord]:
        """Make these, in their order, people's own captions of an image, and return all its captions.

        Those that are no longer among them stay as sentences. One that the captioner wrote, too, is people's own
        from then on, and so is its sentence. RecordNotFound, SpaceMismatch.
        """

    def delete(self, image_id: str, origin: CaptionOrigin | None) -> None:
        """Delete the captions of an image, or those of one origin; RecordNotFound.

        A sentence of the captioner goes with the last image that it is a caption of; people's own stay.
        """

    def owed(self) -> int:
        """Return how many images are owed captions that are not given up."""

    def given_up(self) -> int:
        """Return how many images have had MAX_CAPTION_ATTEMPTS attempts, and are owed captions still."""

    def claim(self, limit: int, seconds: float) -> list[OwedCaptions]:
        """Return up to `limit` images that are owed captions, oldest first, for the caller to attempt.

        No one else is given them for so many `seconds`. Those given up are not among them.
        """

    def release(self, image_ids: Sequence[str], seconds: float, *, counted: bool) -> None:
        """End an attempt without captions: no one is given these images for so many `seconds`.

        `counted`: whether it counts as an attempt. Unknown ids, and images that are owed none, are ignored.
        """

    def retry(self) -> int:
        """Forget all failed attempts, so that everything owed is attempted again now; return how many images."""


class SourceStore(Protocol):
    """Folders whose pictures stay where they are, and the files in them. Thread-safe, each method one transaction.

    Besides what each names, methods that take the id of a source raise SourceNotFound.
    """

    def register(self, root: str) -> Source:
        """Return the source with this path, a new one where there is none."""

    def all(self) -> list[Source]:
        """Return all sources, in the order in which they came."""

    def get(self, id: str) -> Source:
        """Return one source."""

    def pause(self, id: str, paused: bool) -> Source:
        """Have nobody work on a source, or let them again."""

    def note(self, id: str, state: SourceState, reason: str | None, mounts: Sequence[str] | None) -> None:
        """Write down how a pass ended, where `ready` is complete, and with `mounts` on which folders one is mounted."""

    def known(self, id: str) -> dict[str, KnownFile]:
        """Return what is remembered of all files of a source, by path."""

    def counts(self, id: str) -> dict[FileState, int]:
        """Return how many files of a source there are in each state."""

    def files(self, id: str, state: FileState, after: str | None, limit: int) -> list[SourceFile]:
        """Return up to `limit` files in a state whose paths come after `after`, in the order of their bytes."""

    def of(self, image_ids: Sequence[str]) -> dict[str, list[SourceFile]]:
        """Return the files of images by id; those without any are left out."""

    def locate(self, sha256: str) -> list[Location]:
        """Return where files with this content were last seen."""

    def attach(self, found: Sequence[tuple[FileInPlace, str]]) -> list[ImageRecord | Literal["unknown", "deleted"]]:
        """Note files by the SHA-256 of their content, where there are images of it: those are found again.

        `unknown`, and nothing is noted, where there is no such image. A file whose image somebody deleted while it was
        in the same source under another path is noted as `deleted`.
        """

    def seen(self, id: str, files: Sequence[tuple[str, Signature]]) -> None:
        """Note that missing files are back."""

    def refuse(self, id: str, files: Sequence[RefusedFile]) -> None:
        """Note files that make no images."""

    def settle(self, id: str, gone: Sequence[str]) -> int:
        """Note that these files are gone; return how many images are missing since.

        An image is missing when it has no copy, and none of its files is present. Files of other images, and those
        that made none, are forgotten.
        """

    def prune(self, id: str | None, before: datetime, spare: Sequence[str] = ()) -> list[ImageRecord]:
        """Delete the images that have been missing since before then, of one source or of all; return them.

        An image stays while one of its files is there, though it can no longer be used, and while one was below the
        folders `spare`.
        """

    def forget(self, id: str) -> list[ImageRecord]:
        """Delete a source, and the images that were in no other and have no copy; return those."""


class PhotoStore(Protocol):
    """What files say about the images of a catalog. Thread-safe, each method one transaction."""

    def unread(self, after: int, limit: int) -> list[tuple[int, ImageRecord]]:
        """Return up to `limit` pairs (key, record) with keys above `after` whose files nobody has asked yet."""

    def count_unread(self) -> int:
        """Return how many there are."""

    def set(self, facts: Mapping[str, PhotoFacts]) -> None:
        """Keep what contents say, by their SHA-256: an image may have another one by now, or be gone."""

    def months(self, filters: Filters, words: Sequence[str], photo: PhotoFilter) -> list[Month]:
        """Return in which months the images that match were taken, the latest first."""


class PendingDeletions(Protocol):
    """Images whose deletion can be undone, for every process alike. Thread-safe, each method one transaction."""

    def schedule(self, image_id: str, due: datetime) -> None:
        """Let an image be deleted from `due` on; one that is pending becomes due then instead. RecordNotFound."""

    def postpone(self, before: datetime, due: datetime) -> list[str]:
        """Let what was due by `before` be due from `due` on; return the ids of those images."""

    def cancel(self, image_ids: Sequence[str]) -> list[str]:
        """Keep these images after all; return the ids of those that were pending."""

    def all(self) -> list[PendingDeletion]:
        """Return what is pending, the first due first."""

    def carry_out(self, image_id: str, until: datetime) -> ImageRecord | None:
        """Delete an image, as `Collection.delete`, if its deletion is pending and due by then; None if it is not."""
