"""A sample of a collection, found by its keys: nothing is read that grows with the collection."""

from __future__ import annotations

from typing import Any

from index.interfaces import Collection

_SEED = 0
_SPARSE = 16  # keys for each record, from which on it is cheaper to read the keys that there are
_SPARE, _FEW = 1.1, 32  # so many times as many keys are tried as should be needed, and so many more


def sample(collection: Collection[Any], limit: int, *columns: str) -> list[tuple[Any, ...]]:
    """Return columns of up to `limit` records, newest first, spread evenly: the same for the same collection.

    Thousands of whole records would be so many objects that the garbage collector stops all threads for long.
    """
    import numpy as np

    highest, total = collection.head().key, collection.count({})
    random = np.random.default_rng(_SEED)
    if total <= limit or total * _SPARSE < highest:
        keys = collection.keys({})
        chosen = keys if len(keys) <= limit else random.choice(keys, size=limit, replace=False)
        rows = collection.columns(chosen, *columns)
    else:
        hidden = collection.hidden()
        tried = min(highest, round(_SPARE * limit * highest / total) + _FEW)
        while True:
            drawn = random.choice(highest, size=tried, replace=False) + 1
            found = collection.columns(drawn[~np.isin(drawn, hidden)], *columns)
            if len(found) >= limit or tried == highest:
                break
            tried = min(highest, 2 * tried)
        rows = {key: found[key] for key in [key for key in drawn.tolist() if key in found][:limit]}
    return [rows[key] for key in sorted(rows, reverse=True)]
