"""The score of a pair of vectors, the same for every vector engine.

An engine may find its candidates in whatever precision it likes. What it returns is scored here, so that a pair of
vectors has the same score, bit for bit, in any company and on any engine, and ties are ordered by key.
"""

from __future__ import annotations

import numpy as np

from index.types import Halves, Keys, Vectors
from index.vector_encoding import singles, unit_rows

_ROUNDING = 2e-3  # a stored row is within 5e-4 of unit length: scores without its exact length differ by as much


def cosines(vector: Vectors, rows: Vectors) -> Vectors:
    """Return the cosines (n,) of a unit vector (D,) with unit rows (n, D), from -1 to 1."""
    scores: Vectors = np.einsum("nd,d->n", rows.astype(np.float64), vector.astype(np.float64)).astype(np.float32)
    return np.minimum(np.maximum(scores, np.float32(-1.0)), np.float32(1.0))


def best(scores: Vectors, keys: Keys, k: int) -> tuple[Vectors, Keys]:
    """Return up to k scores, descending, and their keys; ties are in the order of their keys."""
    order = np.lexsort((keys, -scores))[:k]
    return scores[order], keys[order]


def nearest(vector: Vectors, keys: Keys, halves: Halves, k: int) -> tuple[Vectors, Keys]:
    """Return the scores and keys of the k stored rows (n, D) that are nearest to a unit vector (D,), as `best`.

    Only rows that may be among them are scored exactly.
    """
    rows = singles(halves)
    if len(keys) > k:
        rough = rows @ vector
        near = rough >= np.partition(rough, len(keys) - k)[len(keys) - k] - _ROUNDING
        keys, rows = keys[near], rows[near]
    return best(cosines(vector, unit_rows(rows, len(vector))), keys, k)
