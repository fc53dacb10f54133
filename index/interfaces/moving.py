"""Reading all of a catalog at one moment, and taking over what another one had."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from index.interfaces.changes import CatalogState
from index.types import Halves, Space

if TYPE_CHECKING:  # whoever moves nothing needs no models of what moves
    from index.types.moving import Counts, MovedFile, MovedImage, MovedSentence, MovedSource, Part, Taken


class Snapshot(Protocol):
    """A catalog at one moment, whatever others write. Not for several threads at once. CatalogCorrupted.

    Lists come in some hundred records each, in the order in which these were added.
    """

    @property
    def state(self) -> CatalogState:
        """Identity and version."""

    @property
    def counts(self) -> Counts:
        """How much there is, but for contents."""

    def sources(self) -> list[MovedSource]:
        """Return the folders in place."""

    def images(self) -> Iterator[tuple[list[MovedImage], Halves]]:
        """Yield images, their files in folders in place among them, and their vectors (n, D)."""

    def files(self) -> Iterator[list[MovedFile]]:
        """Yield what is known of files of no image."""

    def sentences(self) -> Iterator[tuple[list[MovedSentence], Halves]]:
        """Yield sentences with the captions that they are, and their vectors (n, D)."""


class MovingStore(Protocol):
    """What moves into a catalog, and out of it. Thread-safe."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Give the catalog as it is now."""

    def take(self, part: Part, space: Space, before_insert: Callable[[list[str]], None]) -> Taken:
        """Take over records with their ids and vectors, bit by bit, in one transaction. SpaceMismatch.

        A record with the same content is known and keeps id and metadata; captions and files are added to it. One whose
        id has another content is refused. Folders in place that are new here are paused. `before_insert` as in
        `Collection.add`, for new images. An image without `in_place` has a copy from now on.
        """
