"""Nearest neighbours over FAISS: exact while that is fast, inverted lists with a measured recall beyond.

Inverted lists rather than a graph, because vectors are deleted and FAISS cannot delete from HNSW. The
structure changes by itself: a flat index that outgrows the threshold is clustered (about as many lists as the
square root of its size), one that has quadrupled since is clustered anew, one that has shrunk to half the
threshold is flat again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from index.scoring import best, cosines
from index.types import Keys, Vectors
from index.vectors import EXACT_UP_TO

TARGET_RECALL = 0.95
"""How many of the true ten nearest a clustered index must find, on average, when it is built."""

_ROUNDING = 1e-5  # FAISS sums in float32, in an order that depends on the batch: scores this close may be swapped
_SCORING_CHUNK = 4096
_TRAINING_PER_LIST = 64
_RECALL_QUERIES = 100
_RECALL_AT = 10


class FaissIndex:
    """Unit vectors of `dimension` components under integer keys. Not for a writer and others at once."""

    def __init__(self, dimension: int, exact_up_to: int = EXACT_UP_TO, target_recall: float = TARGET_RECALL) -> None:
        """Make an empty index that stays exact up to this many vectors."""
        self._dimension = dimension
        self._exact_up_to = exact_up_to
        self._target_recall = target_recall
        self._recall = 1.0
        self._clustered_at = 0  # how many vectors there were when the lists were made; 0 for a flat index
        self._nprobe = 1
        self._largest = -1  # no key is above it
        self._index: Any = _flat(dimension)

    @classmethod
    def deserialize(
        cls,
        data: npt.NDArray[np.uint8],
        exact_up_to: int = EXACT_UP_TO,
        target_recall: float = TARGET_RECALL,
        recall: float = 1.0,
    ) -> FaissIndex:
        """Read what `serialize` wrote; the caller vouches that the bytes are unchanged."""
        read = faiss.deserialize_index(data)
        index = cls(read.d, exact_up_to, target_recall)
        index._index = read
        index._recall = recall
        if isinstance(read, faiss.IndexIVFFlat):
            index._nprobe = read.nprobe
            index._clustered_at = read.nlist**2
        index._largest = int(index.keys().max(initial=-1))
        return index

    @property
    def kind(self) -> str:
        """`exact`, or `ivf` for inverted lists."""
        return "ivf" if self._clustered_at else "exact"

    @property
    def recall(self) -> float:
        """Recall@10 against the exact result, for queries between stored vectors; 1.0 if exact."""
        return self._recall

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, keys: Keys, vectors: Vectors) -> None:
        """Add unit rows (n, D) under new keys."""
        if not len(keys):
            return
        self._index.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), keys)
        self._largest = max(self._largest, int(keys.max()))
        if len(self) > max(self._exact_up_to, 4 * self._clustered_at):
            self._cluster()

    def remove(self, keys: Keys) -> None:
        """Remove these keys; unknown ones do no harm."""
        if not len(keys):
            return
        self._index.remove_ids(np.ascontiguousarray(keys, dtype=np.int64))
        if self._clustered_at and len(self) <= self._exact_up_to // 2:
            keys = self.keys()
            vectors = self.vectors(keys)
            self._index = _flat(self._dimension)
            self._index.add_with_ids(vectors, keys)
            self._clustered_at, self._nprobe, self._recall = 0, 1, 1.0

    def search(
        self, vector: Vectors, k: int, allowed: Keys | None = None, excluded: Keys | None = None
    ) -> tuple[Vectors, Keys]:
        """Return scores and keys, both (r,), r <= k, of the nearest to (D,): descending, ties by key.

        `allowed` keys are searched exactly; `excluded` ones never come back.
        """
        exhaustive = allowed is not None
        bitmap = self._bitmap(allowed, excluded)
        limit = len(self) if allowed is None else min(len(self), len(allowed))
        wanted = min(k, limit)
        if wanted <= 0:
            return np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
        fetched = min(wanted + 16, limit)
        while True:
            rough, keys = self._candidates(vector, fetched, bitmap, exhaustive)
            # Take more until no candidate left out could tie with the last one wanted. If the lists that were
            # probed ran dry, probe all.
            if len(keys) >= wanted and (
                len(keys) < fetched or rough[-1] < rough[wanted - 1] - _ROUNDING or fetched == limit
            ):
                break
            if len(keys) < fetched:
                if exhaustive or not self._clustered_at:
                    break
                exhaustive = True
            else:
                fetched = min(2 * fetched, limit)
        return best(self._score(vector, keys), keys, wanted)

    def keys(self) -> Keys:
        """Return all keys, ascending."""
        if self._clustered_at:
            lists = self._index.invlists
            parts = [
                faiss.rev_swig_ptr(lists.get_ids(number), lists.list_size(number)).copy()
                for number in range(self._index.nlist)
                if lists.list_size(number)
            ]
            keys = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
        else:
            keys = faiss.vector_to_array(self._index.id_map)
        return np.sort(keys.astype(np.int64))

    def vectors(self, keys: Keys) -> Vectors:
        """Return the vectors (n, D) of keys that are all there."""
        if not len(keys):
            return np.empty((0, self._dimension), dtype=np.float32)
        found: Vectors = self._index.reconstruct_batch(keys)
        return found

    def serialize(self) -> npt.NDArray[np.uint8]:
        """Return the index as bytes, for a snapshot."""
        data: npt.NDArray[np.uint8] = faiss.serialize_index(self._index)
        return data

    def _candidates(
        self, vector: Vectors, k: int, bitmap: npt.NDArray[np.uint8] | None, exhaustive: bool
    ) -> tuple[Vectors, Keys]:
        """Return up to k rough scores, descending, and their keys."""
        options: dict[str, Any] = {}
        if bitmap is not None:
            options["sel"] = faiss.IDSelectorBitmap(len(bitmap), faiss.swig_ptr(bitmap))
        parameters: Any
        if self._clustered_at:
            nprobe = self._index.nlist if exhaustive else self._nprobe
            parameters = faiss.SearchParametersIVF(**options, nprobe=nprobe)  # type: ignore[call-arg]
        else:
            parameters = faiss.SearchParameters(**options)
        query = np.ascontiguousarray(vector, dtype=np.float32)[np.newaxis, :]
        with _one_thread():
            scores, keys = self._index.search(query, k, params=parameters)
        found = keys[0] >= 0
        return scores[0][found], keys[0][found]

    def _score(self, vector: Vectors, keys: Keys) -> Vectors:
        """Return the cosines of `vector` with these keys."""
        scores = np.empty(len(keys), dtype=np.float32)
        for start in range(0, len(keys), _SCORING_CHUNK):
            chunk = slice(start, start + _SCORING_CHUNK)
            scores[chunk] = cosines(vector, self.vectors(keys[chunk]))
        return scores

    def _bitmap(self, allowed: Keys | None, excluded: Keys | None) -> npt.NDArray[np.uint8] | None:
        """Return one bit for each key that may come back, or None for all of them."""
        if allowed is None and (excluded is None or not len(excluded)):
            return None
        size = self._largest + 1
        bits = np.zeros(size, dtype=bool) if allowed is not None else np.ones(size, dtype=bool)
        if allowed is not None:
            bits[allowed[allowed < size]] = True
        if excluded is not None:
            bits[excluded[excluded < size]] = False
        return np.packbits(bits, bitorder="little")

    def _cluster(self) -> None:
        """Build inverted lists over what is there, and probe as many as the target recall takes."""
        keys = self.keys()
        vectors = self.vectors(keys)
        count = max(1, int(len(keys) ** 0.5))
        centroids = faiss.IndexFlatIP(self._dimension)
        clustered = faiss.IndexIVFFlat(centroids, self._dimension, count, faiss.METRIC_INNER_PRODUCT)
        clustered.cp.max_points_per_centroid = _TRAINING_PER_LIST
        clustered.cp.min_points_per_centroid = 1
        clustered.cp.spherical = True
        clustered.train(vectors)
        # The only map from keys to vectors that can remove; the stubs do not know it.
        clustered.set_direct_map_type(faiss.DirectMap.Hashtable)  # type: ignore[attr-defined]
        clustered.add_with_ids(vectors, keys)
        self._index, self._clustered_at = clustered, len(keys)
        self._choose_nprobe(vectors)

    def _choose_nprobe(self, vectors: Vectors) -> None:
        """Double `nprobe` until the recall is reached.

        The queries lie half-way between two stored vectors: farther from every list than a stored vector is,
        as the queries of another modality are.
        """
        random = np.random.default_rng(0)
        pairs = random.integers(len(vectors), size=(_RECALL_QUERIES, 2))
        queries = vectors[pairs[:, 0]] + vectors[pairs[:, 1]]
        faiss.normalize_L2(queries)
        at = min(_RECALL_AT, len(vectors))
        index = self._index
        index.nprobe = index.nlist
        exact = index.search(queries, at)[1]
        index.nprobe = 1
        while True:
            found = index.search(queries, at)[1]
            shared = sum(len(np.intersect1d(row, truth)) for row, truth in zip(found, exact, strict=True))
            self._recall = shared / exact.size
            if self._recall >= self._target_recall or index.nprobe == index.nlist:
                break
            index.nprobe = min(2 * index.nprobe, index.nlist)
        self._nprobe = index.nprobe


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenMP from waking its threads for a single query: on busy cores that costs more than searching.

    The setting belongs to the calling thread, so searches in other threads do not notice.
    """
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _flat(dimension: int) -> Any:
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dimension))
