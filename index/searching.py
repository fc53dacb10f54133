"""One page of nearest records: filters, exclusions, threshold and cursor around a vector index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from index.cursors import SearchCursor, fingerprint
from index.interfaces import CatalogState, Collection, VectorIndex, Where
from index.types import Hit, Keys, Page, Vectors

_ATTEMPTS = 5


@dataclass(frozen=True)
class Query:
    """What is looked for: a unit vector (D,), which records may be found, and the lowest score."""

    vector: Vectors
    where: Where
    min_score: float | None

    def fingerprint(self, state: CatalogState, collection: Collection[Any]) -> bytes:
        """Return what ties a cursor to this query on this catalog."""
        filters = [part for item in self.where.filters.items() for part in item]
        return fingerprint(
            state.library_id,
            str(state.generation),
            collection.target,
            self.vector.tobytes(),
            repr(self.min_score),
            str(len(filters)),
            *filters,
            str(len(self.where.concepts)),
            *self.where.concepts,
            repr(self.where.photo),
            *sorted(self.where.exclude),
        )


@dataclass(frozen=True)
class _Window:
    """The hits of one page, how many hits come before it, and whether any come after it."""

    scores: Vectors
    keys: Keys
    start: int
    more: bool
    total: int


def search_page(
    collection: Collection[Any],
    index: VectorIndex,
    state: CatalogState,
    query: Query,
    k: int,
    cursor: str | None,
) -> Page[Hit]:
    """Return the k best records after `cursor`; InvalidCursor, GenerationChanged.

    What was deleted before this call never comes back. Should something be deleted during the call, the
    search is done again without it.
    """
    identity = query.fingerprint(state, collection)
    after = SearchCursor.decode(cursor, identity) if cursor is not None else None
    for _ in range(_ATTEMPTS):
        index.refresh()
        window = _window(index, state.generation, query, k, after)
        records = collection.records(window.keys)
        if len(records) == len(window.keys):
            break
    hits = [
        Hit(records[key], score)
        for key, score in zip(window.keys.tolist(), window.scores.tolist(), strict=True)
        if key in records
    ]
    last = SearchCursor(int(window.keys[-1]), float(window.scores[-1]), window.start + k) if window.more else None
    return Page(
        items=hits,
        next_cursor=last.encode(identity) if last else None,
        total=window.total,
    )


def _window(index: VectorIndex, generation: int, query: Query, k: int, after: SearchCursor | None) -> _Window:
    """Find the page by its place in the order; the rank in the cursor only says how deep to look."""
    import numpy as np

    depth = (after.rank if after else 0) + k + 1
    while True:
        found = index.search(query.vector, depth, query.where, generation=generation)
        scores, keys = found.scores, found.keys
        exhausted = len(keys) < depth
        if query.min_score is not None:
            good = scores >= np.float32(query.min_score)
            exhausted = exhausted or not good.all()
            scores, keys = scores[good], keys[good]
        start = 0
        if after is not None:
            score = np.float32(after.score)
            start = int(np.count_nonzero((scores > score) | ((scores == score) & (keys <= after.key))))
        if exhausted or len(keys) - start > k:
            page = slice(start, start + k)
            return _Window(scores[page], keys[page], start, len(keys) - start > k, found.total)
        depth *= 4
