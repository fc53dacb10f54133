"""What is too new for a segment, or too little for one: vectors in memory, searched exhaustively."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

from index.types import Keys, Vectors
from index.vectors.faiss.codec import one_thread

_ROUNDING = 2e-3  # scores in half precision are off by at most half of it


class Head:
    """Unit vectors (n, D) in half precision under integer keys. Not for a writer and others at once."""

    def __init__(self, dimension: int) -> None:
        self._index: Any = faiss.IndexIDMap2(
            faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        )

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Add unit rows (n, D) under new keys."""
        if len(keys):
            with one_thread():
                self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), keys)

    def remove(self, keys: Keys) -> int:
        """Remove these keys, and return how many of them were there."""
        return int(self._index.remove_ids(np.ascontiguousarray(keys))) if len(keys) and len(self) else 0

    def keys(self) -> Keys:
        """Return all keys, ascending."""
        return np.sort(faiss.vector_to_array(self._index.id_map).astype(np.int64))

    def after(self, key: int) -> Head:
        """Return a head of the keys above `key`."""
        rest = Head(self._index.d)
        keys = self.keys()
        kept = keys[keys > key]
        if len(kept):
            rest.add(kept, self.vectors(kept))
        return rest

    def vectors(self, keys: Keys) -> Vectors:
        """Return the vectors (n, D) of keys that are all there, in half precision."""
        vectors: Vectors = self._index.reconstruct_batch(keys)
        return vectors

    def nearest(self, vector: Vectors, k: int, selector: Any | None) -> Keys:
        """Return keys among which are the k nearest to a unit vector (D,), ties included, that the selector admits."""
        query = np.ascontiguousarray(vector, dtype=np.float32)[np.newaxis, :]
        fetched = min(k + 16, len(self))
        while fetched:
            parameters = faiss.SearchParameters(sel=selector)  # type: ignore[call-arg]
            with one_thread():
                scores, keys = self._index.search(query, fetched, params=parameters)
            found = keys[0][keys[0] >= 0]
            all_of_them = len(found) < fetched or fetched == len(self)
            if all_of_them or scores[0, fetched - 1] < scores[0, k - 1] - _ROUNDING:
                return np.asarray(found, dtype=np.int64)
            fetched = min(2 * fetched, len(self))
        return np.empty(0, dtype=np.int64)
