"""What all towers do with vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
EPSILON = 1e-6
"""Smallest norm that is divided by: a zero vector stays zero instead of turning into NaN."""


def normalise(vectors: Vectors) -> Vectors:
    """Unit rows of (..., D)."""
    # As `np.linalg.norm` computes it, bit for bit, without what that asks first: a search does this several times.
    norms: Any = np.sqrt(np.add.reduce(vectors * vectors, axis=-1, keepdims=True))
    unit: Vectors = vectors / np.maximum(norms, EPSILON)
    return unit
