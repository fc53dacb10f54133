"""The segments of a manifest as they are searched: one FAISS index for each, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from index.types import Keys, Vectors
from index.vectors.faiss.codec import Codec, Encoded, Probed, one_thread
from index.vectors.faiss.files import IndexFolder
from index.vectors.faiss.manifest import Manifest


@dataclass(frozen=True)
class Segment:
    """Encoded vectors with keys that ascend, mapped from the file; and what scans their codes, in memory."""

    encoded: Encoded
    index: Any

    def __len__(self) -> int:
        return len(self.encoded)

    def scan(self, query: Vectors, count: int, probed: Probed, selector: Any | None) -> tuple[Vectors, Keys]:
        """Return the `count` best codes for a projected query (1, d) in these lists, and their keys; -1 for none.

        FAISS's own function for Python takes either the lists or a selector.
        """
        lists, nearness = probed
        parameters = faiss.SearchParametersIVF(nprobe=lists.size, sel=selector)  # type: ignore[call-arg]
        scores, keys = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.int64)
        arrays = [faiss.swig_ptr(array) for array in (lists, nearness, scores, keys)]
        self.index.search_preassigned_c(1, faiss.swig_ptr(query), count, *arrays, False, parameters)
        return scores, keys

    def places(self, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the place of each of some keys, and whether it is there."""
        mine = self.encoded.keys
        if not len(mine):
            return np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=bool)
        last = len(mine) - 1
        if self._is_dense:
            places = np.minimum(np.maximum(keys - mine[0], 0), last)  # NumPy's clip takes three times as long
        else:
            places = np.minimum(np.searchsorted(mine, keys), last)
        return places, mine[places] == keys

    @cached_property
    def _is_dense(self) -> bool:
        """Whether no key is missing between the first and the last: looking for one in a million takes a while."""
        mine = self.encoded.keys
        return int(mine[-1]) - int(mine[0]) == len(mine) - 1


@dataclass(frozen=True)
class Segments:
    """All segments of a manifest. Never changed, so that any number of threads may search."""

    manifest: Manifest
    codec: Codec
    by_file: dict[str, Segment]

    @classmethod
    def load(cls, folder: IndexFolder, manifest: Manifest, before: Segments | None = None) -> Segments | None:
        """Read the files that the manifest names, but for those that are there `before`; None if one is damaged."""
        if before is not None and before.manifest.codec == manifest.codec:
            codec: Codec | None = before.codec
            known = before.by_file
        else:
            codec, known = folder.read_codec(manifest), {}
        if codec is None:
            return None
        by_file: dict[str, Segment] = {}
        for entry in manifest.segments:
            if entry.file in known:
                by_file[entry.file] = known[entry.file]
                continue
            read = folder.read_segment(entry, codec.lists)
            if read is None:
                return None
            by_file[entry.file] = Segment(read, codec.scannable(read))
        return cls(manifest, codec, by_file)

    def __len__(self) -> int:
        return self.manifest.count

    def present(self, keys: Keys) -> Keys:
        """Return those of these keys that a segment has."""
        found = np.zeros(len(keys), dtype=bool)
        for segment in self.by_file.values():
            found |= segment.places(keys)[1]
        return keys[found]

    def agree(self, keys: Keys, vectors: Vectors, share: float) -> bool:
        """Tell whether codes and rows of these keys are those of unit rows (n, D): so much of each, at least."""
        codes, rows = self.codec.compress(self.codec.project(vectors))
        for segment in self.by_file.values():
            places, there = segment.places(keys)
            differing = codes[there] ^ segment.encoded.codes[places[there]]
            same = [((differing & half) == 0).mean(axis=1) for half in (0x0F, 0xF0)]
            if (same[0] + same[1] < 2 * share).any():
                return False
            stored = segment.encoded.rows[places[there]].astype(np.int16)
            if stored.shape[1] and ((np.abs(stored - rows[there]) <= 1).mean(axis=1) < share).any():
                return False
        return True

    def candidates(
        self, vector: Vectors, count: int, wanted: int, lists: int, selector: Any | None
    ) -> tuple[Keys, bool]:
        """Return up to `wanted` keys that are likely to be nearest to a unit vector (D,), and whether these are all.

        So many lists are probed, of each segment, for the best `count` codes; of these the best rows are chosen.
        """
        query = self.codec.project(vector[np.newaxis, :])
        found_scores, found_keys = [], []
        everything = lists >= self.codec.lists
        with one_thread():
            probed = self.codec.nearest_lists(query, lists)
            for segment in self.by_file.values():
                scores, keys = segment.scan(query, min(count, len(segment)), probed, selector)
                there = keys >= 0
                everything = everything and (len(segment) <= count or bool(not there.all()))
                found_scores.append(scores[there])
                found_keys.append(keys[there])
        scores, keys = np.concatenate(found_scores), np.concatenate(found_keys)
        if len(keys) > count:
            keys = keys[np.argpartition(-scores, count - 1)[:count]]
            everything = False
        if len(keys) > wanted:
            keys = np.sort(keys)  # so that they are found, and their rows read, one after another
            keys = keys[np.argpartition(-self._scores(query[0], keys), wanted - 1)[:wanted]]
            everything = False
        return keys, everything

    def _scores(self, query: Vectors, keys: Keys) -> Vectors:
        """Return how near the rows of these keys, which are all there, are to a projected query (d,), on some scale."""
        scores = np.empty(len(keys), dtype=np.float32)
        for segment in self.by_file.values():
            places, there = segment.places(keys)
            rows = np.take(segment.encoded.rows, places[there], axis=0)  # by brackets it takes three times as long
            scores[there] = rows.astype(np.float32) @ query
        return scores
