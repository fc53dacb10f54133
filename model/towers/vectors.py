"""What all towers do with vectors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
EPSILON = 1e-6
"""Smallest norm that is divided by: a zero vector stays zero instead of turning into NaN."""


def normalise(vectors: Vectors) -> Vectors:
    """Unit rows of (..., D)."""
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), EPSILON)
    return unit
