"""One page of nearest records: filters, exclusions, threshold and cursor around a vector index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from index.cursors import SearchCursor, fingerprint
from index.following import FollowingIndex
from index.interfaces import CatalogState, Collection
from index.types import Filters, Hit, Keys, Page, Vectors

_ATTEMPTS = 5


@dataclass(frozen=True)
class Query:
    """What is looked for: a unit vector (D,), filters, ids to leave out, concepts, and the lowest score."""

    vector: Vectors
    filters: Filters
    exclude: tuple[str, ...]
    concepts: tuple[str, ...]
    min_score: float | None

    def fingerprint(self, state: CatalogState, collection: Collection[Any]) -> bytes:
        """Return what ties a cursor to this query on this catalog."""
        filters = [part for item in self.filters.items() for part in item]
        return fingerprint(
            state.library_id,
            str(state.generation),
            collection.target,
            self.vector.tobytes(),
            repr(self.min_score),
            str(len(filters)),
            *filters,
            str(len(self.concepts)),
            *self.concepts,
            *sorted(self.exclude),
        )


@dataclass(frozen=True)
class _Window:
    """The hits of one page, how many hits come before it, and whether any come after it."""

    scores: Vectors
    keys: Keys
    start: int
    more: bool


def search_page(
    collection: Collection[Any],
    index: FollowingIndex,
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
        allowed = collection.keys(query.filters, query.concepts) if query.filters or query.concepts else None
        excluded = collection.keys_of(query.exclude)
        window = _window(index, state.generation, query, k, after, allowed, excluded)
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
        total=_eligible(index, allowed, excluded),
    )


def _window(
    index: FollowingIndex,
    generation: int,
    query: Query,
    k: int,
    after: SearchCursor | None,
    allowed: Keys | None,
    excluded: Keys,
) -> _Window:
    """Find the page by its place in the order; the rank in the cursor only says how deep to look."""
    depth = (after.rank if after else 0) + k + 1
    while True:
        scores, keys = index.search(query.vector, generation, depth, allowed, excluded)
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
            return _Window(scores[start : start + k], keys[start : start + k], start, len(keys) - start > k)
        depth *= 2


def _eligible(index: FollowingIndex, allowed: Keys | None, excluded: Keys) -> int:
    if allowed is None:
        return len(index) - len(excluded)
    return len(allowed) - int(np.isin(excluded, allowed).sum())
