"""The catalog: the one source of truth."""

from __future__ import annotations

from typing import Protocol

from index.interfaces.changes import CatalogState
from index.interfaces.collection import Collection
from index.interfaces.leases import Leases
from index.interfaces.moving import MovingStore
from index.interfaces.relations import CaptionStore, PendingDeletions, PhotoStore, SourceStore
from index.types import EngineState, ImageRecord, NameConcepts, SentenceRecord, Space


class Catalog(Protocol):
    """The one source of truth: every record and every vector, and all state that processes share."""

    @property
    def images(self) -> Collection[ImageRecord]:
        """The images."""

    @property
    def sentences(self) -> Collection[SentenceRecord]:
        """The sentences."""

    @property
    def captions(self) -> CaptionStore:
        """The captions."""

    @property
    def sources(self) -> SourceStore:
        """The folders whose pictures stay where they are."""

    @property
    def photos(self) -> PhotoStore:
        """What files say about the images."""

    @property
    def pending(self) -> PendingDeletions:
        """The deletions that can be undone."""

    @property
    def leases(self) -> Leases:
        """Who does what only one process is to do."""

    @property
    def moving(self) -> MovingStore:
        """What moves to another library, and what came from one."""

    def state(self) -> CatalogState:
        """Return the identity and version of this catalog, as of now."""

    def begin_staging(self, space: Space) -> int:
        """Start, or go on, to stage vectors of `space`; return how many records have theirs already."""

    def swap_staged(self, space: Space) -> bool:
        """Replace all vectors by the staged ones in one transaction; False if some record has none yet."""

    def describe(self, space: Space, name: NameConcepts) -> int:
        """Give concepts to the images that have none; return how many there were. SpaceMismatch."""

    def problems(self) -> list[str]:
        """Return what is wrong with the records themselves."""

    def engine(self) -> EngineState | None:
        """Return how the engine does; None if it is a part of this process. Asks nothing."""

    def size(self) -> int:
        """Return how many bytes the catalog takes up."""

    def content_size(self) -> int:
        """Return how many bytes the content takes up of all images that there is a copy of."""

    def close(self) -> None:
        """Finish the writes under way and give up every connection. Idempotent."""
