"""Vector indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from index.pacing import Pace
from index.types import ANY_PHOTO, EngineState, Filters, IndexStats, Keys, PhotoFilter, Vectors


@dataclass(frozen=True)
class Where:
    """Which records a search may find: metadata, concepts and facts that they must have, and ids to leave out.

    These are plain values. An engine scans, probes, pushes them down, or asks the catalog which keys match.
    """

    filters: Filters = field(default_factory=dict)
    concepts: tuple[str, ...] = ()
    photo: PhotoFilter = ANY_PHOTO
    exclude: tuple[str, ...] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing is demanded; there may be ids to leave out."""
        return not (self.filters or self.concepts) and self.photo.is_empty


@dataclass(frozen=True)
class Nearest:
    """The answer of a search: scores and keys, both (r,), descending, ties by key.

    `total` is how many records the search ranged over: those that match and are not left out.
    """

    scores: Vectors
    keys: Keys
    total: int


class VectorIndex(Protocol):
    """Nearest neighbours by cosine in one collection of the catalog, which the index follows. Thread-safe.

    It is derived: whatever happens to it, it comes back from the catalog. How it searches, what it keeps on a disk or
    on another machine, and how many of the true nearest it finds are its own business; `stats` tells. Besides what each
    names, all methods may raise the errors of the catalog.
    """

    def refresh(self) -> None:
        """Take over everything that was committed before this call, by whatever process."""

    def follow(self) -> None:
        """Refresh if it was refreshed before: somebody searches, and the next search then has less to do."""

    def is_ready(self) -> bool:
        """Tell whether a search would begin at once: nothing has to be loaded, and nobody is at work on it."""

    def search(self, vector: Vectors, k: int, where: Where, *, generation: int) -> Nearest:
        """Return the k nearest to a unit vector (D,), as of the last `refresh` or later.

        Scores are those of `index.scoring.cosines`: a pair of vectors always has the same, bit for bit. Where few
        records have what is demanded, the search is exact. Ids in `exclude` that do not exist do no harm.
        GenerationChanged unless the vectors are those of this `generation` of the catalog.
        """

    def stats(self) -> IndexStats:
        """Return what kind of index it is, how many vectors it has, and its recall, as of now."""

    def lag(self) -> int:
        """Return how many additions and deletions the engine has not yet, so that this process keeps them in memory.

        0 for an index in this process. Asks nothing.
        """

    def engine(self) -> EngineState | None:
        """Return how the engine does; None if it is a part of this process. Asks nothing."""

    def added(self, count: int) -> None:
        """Hear that this process has added so many records; for an index that saves itself now and then."""

    def problems(self) -> list[str]:
        """Return how the index differs from the catalog: sentences, or nothing."""

    def rebuild(self, pace: Pace) -> None:
        """Derive everything anew from the catalog, whatever there is; return when that is done.

        Searches go on with what there is until it is replaced. Vectors are counted with `pace`, and it is rested as it
        says. LibraryClosed if the index is closed meanwhile.
        """

    def close(self) -> None:
        """Stop following and give up every connection. Idempotent."""
