"""How widely to search: measured with vectors of real texts against the exact answer over all vectors."""

from __future__ import annotations

import faiss
import numpy as np

from index.types import Keys, Vectors
from index.vectors.faiss.codec import Codec, Encoded, one_thread
from index.vectors.faiss.manifest import Probing
from index.vectors.faiss.options import RECALL_AT

TARGET_RECALL = 0.985
"""How many of the true ten nearest a search is to find, on average over texts."""

UNMEASURED = (0.15, 256, 128)
"""Share of the lists to probe, candidates, and those to score where there is no text to measure with."""

_SHARES = (0.01, 0.02, 0.03, 0.045, 0.06, 0.08, 0.1, 0.13, 0.17, 0.22, 0.3, 0.4, 0.6, 1.0)
_CANDIDATES = (128, 192, 256, 384, 512, 1024)
_SCORED = (24, 32, 48, 64, 96, 128, 192, 256, 384)
# Measured: scanning a code, ranking a candidate by its row, reading and scoring one exactly.
_NS_A_CODE, _NS_A_CANDIDATE, _NS_A_SCORE = 12, 500, 6000


class ExactAnswers:
    """The true nearest of each query (m, D) among all vectors that it sees, some at a time."""

    def __init__(self, queries: Vectors) -> None:
        self.queries = queries
        self.scores = np.full((len(queries), RECALL_AT), -2.0, dtype=np.float32)
        self.keys = np.zeros((len(queries), RECALL_AT), dtype=np.int64)

    def see(self, keys: Keys, vectors: Vectors) -> None:
        """Take vectors (n, D) into account."""
        scores = np.concatenate([self.scores, self.queries @ vectors.T], axis=1)
        known = np.concatenate([self.keys, np.broadcast_to(keys, (len(self.queries), len(keys)))], axis=1)
        top = np.argpartition(-scores, RECALL_AT - 1, axis=1)[:, :RECALL_AT]
        self.scores = np.take_along_axis(scores, top, axis=1)
        self.keys = np.take_along_axis(known, top, axis=1)


def choose_probing(codec: Codec, encoded: Encoded, answers: ExactAnswers | None) -> Probing:
    """Return the cheapest way to search these encoded vectors that finds enough, with the recall that it has."""
    if answers is None:
        share, candidates, scored = UNMEASURED
        return Probing(lists=_lists(codec, share), candidates=candidates, scored=scored, measured_on=len(encoded))
    index = codec.scannable(encoded)
    by_key = np.argsort(encoded.keys)
    queries = codec.project(answers.queries)
    tried: list[tuple[bool, float, Probing]] = []
    deepest = min(max(_CANDIDATES), len(encoded))
    for share in _SHARES:
        if any(not short and cost < share * len(encoded) * _NS_A_CODE for short, cost, _ in tried):
            break  # a wider search costs more than one that finds enough
        probed = _lists(codec, share)
        with one_thread():
            found = index.search(queries, deepest, params=faiss.SearchParametersIVF(nprobe=probed))[1]  # type: ignore[call-arg]
        for (candidates, scored), recall in _recalls(encoded, by_key, queries, found, answers.keys).items():
            cost = share * len(encoded) * _NS_A_CODE + candidates * _NS_A_CANDIDATE + scored * _NS_A_SCORE
            probing = Probing(
                lists=probed, candidates=candidates, scored=scored, measured_on=len(encoded), recall=round(recall, 4)
            )
            tried.append((recall < TARGET_RECALL, cost if recall >= TARGET_RECALL else -recall, probing))
    return min(tried, key=lambda one: one[:2])[2]


def _recalls(encoded: Encoded, by_key: Keys, queries: Vectors, found: Keys, true: Keys) -> dict[tuple[int, int], float]:
    """Return the share of the `true` keys (m, 10) that are left, by the numbers of candidates and of those scored.

    `queries` (m, d) are projected, `found` (m, n) the keys with the best codes, best first; -1 where there are none.
    """
    hits: dict[tuple[int, int], int] = dict.fromkeys(((c, s) for c in _CANDIDATES for s in _SCORED if s <= c), 0)
    ascending = encoded.keys[by_key]
    for query, keys, nearest in zip(queries, found, true, strict=True):
        some = keys[keys >= 0]
        rows = encoded.rows[by_key[np.searchsorted(ascending, some)]]
        order = np.argsort(-(rows.astype(np.float32) @ query))  # places among the codes, by row
        right = np.isin(some, nearest)[order]
        for candidates in _CANDIDATES:
            among = right[order < candidates].cumsum()
            for scored in (one for one in _SCORED if one <= candidates and len(among)):
                hits[candidates, scored] += int(among[min(scored, len(among)) - 1])
    return {sizes: count / true.size for sizes, count in hits.items()}


def _lists(codec: Codec, share: float) -> int:
    return max(1, min(codec.lists, round(share * codec.lists)))
